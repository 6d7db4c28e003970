// `vwire get connections --watch`: for people on a terminal a table that is kept up to date, for people elsewhere a row per
// change, for programs a JSON line per change. Ctrl-C ends it with exit code 0; the manager's end is a failure.

import { NsmError } from '../../protocols/errors.ts';
import { type ConnectionChange, ConnectionWatch } from '../inspect/connection-watch.ts';
import type { ConnectionView } from '../inspect/connection-view.ts';
import type { MeshClient } from '../inspect/mesh-client.ts';
import { type Column, formatTable, printable } from '../output/table.ts';

export interface Watching {
  readonly columns: readonly Column<ConnectionView>[];
  readonly format: 'table' | 'json';
}

/** At most so often a terminal is drawn again; ages go on in between. */
const redrawMs = 250;
const agesMs = 1_000;

export async function watchConnections(mesh: MeshClient, watching: Watching): Promise<void> {
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  const watch = new ConnectionWatch();
  const screen = screenOf(watch, watching);
  try {
    let details = await mesh.connectionDetails();
    for await (const event of mesh.watchConnections(stop.signal)) {
      screen.show(watch.apply(event, Date.now(), details));
      details = new Map();
    }
    if (!stop.signal.aborted) throw ended();
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    screen.end();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

interface Screen {
  show(changes: readonly ConnectionChange[]): void;
  end(): void;
}

function screenOf(watch: ConnectionWatch, { columns, format }: Watching): Screen {
  if (format === 'json') return { show: writeJsonLines, end: () => {} };
  return process.stdout.isTTY ? liveTable(watch, columns) : rowPerChange(columns);
}

function writeJsonLines(changes: readonly ConnectionChange[]): void {
  const at = new Date().toISOString();
  for (const change of changes) process.stdout.write(`${JSON.stringify({ at, ...change })}\n`);
}

function rowPerChange(columns: readonly Column<ConnectionView>[]): Screen {
  const wide: readonly Column<ConnectionChange>[] = [
    { title: 'EVENT', cell: ({ event }) => event },
    ...columns.map(({ cell, ...column }) => ({
      ...column,
      cell: ({ connection }: ConnectionChange) => cell(connection),
    })),
  ];
  const widths = wide.map(({ title }) => title.length);
  const line = (cells: readonly string[]): string => {
    const padded = cells.map((cell, index) => {
      const width = Math.max(widths[index] ?? 0, cell.length);
      widths[index] = width;
      return wide[index]?.align === 'right' ? cell.padStart(width) : cell.padEnd(width);
    });
    return `${padded.join('  ').trimEnd()}\n`;
  };
  let hasTitle = false;
  return {
    show(changes) {
      const cells = changes.map((change) =>
        wide.map(({ cell }) => printable(String(cell(change) ?? '-'))),
      );
      // The first batch is what there is; the titles stand above its widths.
      for (const row of cells) line(row);
      if (!hasTitle) process.stdout.write(line(wide.map(({ title }) => title)));
      hasTitle = true;
      process.stdout.write(cells.map(line).join(''));
    },
    end: () => {},
  };
}

const plain = (_: unknown, text: string): string => text;

function liveTable(watch: ConnectionWatch, columns: readonly Column<ConnectionView>[]): Screen {
  let drawnLines = 0;
  let soon: NodeJS.Timeout | undefined;
  const draw = (): void => {
    soon = undefined;
    const rows = watch.rows(Date.now());
    // What does not fit cannot be taken back from the screen.
    const fitting = Math.max(1, (process.stdout.rows ?? 24) - 3);
    const table = formatTable(rows.slice(0, fitting), columns, plain);
    const more = rows.length > fitting ? `and ${rows.length - fitting} more\n` : '';
    const lines = `${table}${more}`.split('\n').map((line) => cut(line, process.stdout.columns));
    const back = drawnLines === 0 ? '' : `\x1b[${drawnLines}A\x1b[J`;
    process.stdout.write(`${back}${lines.join('\n')}`);
    drawnLines = lines.length - 1;
  };
  const ages = setInterval(draw, agesMs);
  return {
    show: () => void (soon ??= setTimeout(draw, redrawMs)),
    end() {
      clearInterval(ages);
      clearTimeout(soon);
    },
  };
}

/** A line that wraps would be two on the screen. */
function cut(line: string, columns: number | undefined): string {
  return columns === undefined ? line : line.slice(0, columns);
}

function ended(): NsmError {
  return new NsmError('UNAVAILABLE', 'the manager ended the watch', {
    remedy: 'run the command again once it is back: vwire status',
  });
}
