// `vwire drain endpoint|node NAME`: moves all clients away and keeps new ones away, until `--undo`. The manager does it,
// whether or not this command waits for it. Exit code 1 where a client stays. Fields of `-o json|yaml`: docs/cli.md.

import { setTimeout as pause } from 'node:timers/promises';
import type { DrainReply, DrainingEndpoint } from '../../protocols/nsm/gen/vwire_drain_pb.ts';
import { withMesh } from '../inspect/mesh-client.ts';
import { managerUrl } from '../inspect/where.ts';
import { createPaint } from '../output/colours.ts';
import { formatValue } from '../output/print.ts';
import { withProgress } from '../output/progress.ts';
import { formatTable, printable } from '../output/table.ts';
import { type ParsedArguments, parseArguments, UsageError } from './arguments.ts';
import { exitCodes } from './catalog.ts';
import { outputFormat } from './output-format.ts';
import { durationOption } from './duration-option.ts';

interface DrainView {
  readonly kind: string;
  readonly name: string;
  readonly isUndone: boolean;
  /** No client is left. */
  readonly isDone: boolean;
  readonly manager: string;
  readonly node: string;
  readonly endpoints: readonly {
    readonly name: string;
    /** Clients that have left while this command looked. */
    readonly moved: number;
    readonly left: number;
    /** Why other nodes may not yet know that it drains. */
    readonly unregistered: string | null;
    readonly connections: readonly {
      readonly id: string;
      readonly client: string;
      readonly networkService: string;
      readonly phase: string;
      readonly why: string | null;
    }[];
  }[];
}

export async function run(args: readonly string[]): Promise<number> {
  const parsed = parseArguments('drain', args);
  const [kind = '', name = ''] = parsed.operands;
  if (name === '') throw new UsageError(`the name of the ${kind} is empty`);
  const undo = parsed.options['undo'] === true;
  const timeoutMs = durationOption(parsed, 'timeout', '1m');
  const request = { endpoint: kind === 'endpoint' ? name : '', node: kind === 'node' ? name : '' };
  const drain = new Drain(kind, name, undo);
  await withProgress(
    () => drain.progress,
    () =>
      withMesh(managerUrl(parsed), async (mesh) => {
        const ask = () => mesh.drain({ ...request, undo });
        if (undo) await drain.keep(ask());
        else await drain.follow(ask, timeoutMs);
      }),
  );
  show(drain.view, parsed);
  return undo || drain.view.isDone ? exitCodes.ok : exitCodes.failed;
}

const pollMs = 250;
/** Who has had nobody to go to for so long stays, as far as this command goes. */
const stuckMs = 3_000;

class Drain {
  readonly #kind: string;
  readonly #name: string;
  readonly #undo: boolean;
  #reply: DrainReply | undefined;
  /** Most clients that were seen, by Endpoint. */
  #most = new Map<string, number>();

  constructor(kind: string, name: string, undo: boolean) {
    this.#kind = kind;
    this.#name = name;
    this.#undo = undo;
  }

  async keep(answer: Promise<DrainReply>): Promise<DrainReply> {
    const reply = await answer;
    for (const { name, connectionsLeft } of reply.endpoints) {
      this.#most.set(name, Math.max(connectionsLeft, this.#most.get(name) ?? 0));
    }
    this.#reply = reply;
    return reply;
  }

  /** Asks until nobody is left, only such are left as have nobody to go to, or the time is over. */
  async follow(ask: () => Promise<DrainReply>, timeoutMs: number): Promise<void> {
    const untilMs = performance.now() + timeoutMs;
    let stuckSinceMs: number | undefined;
    for (;;) {
      const { endpoints } = await this.keep(ask());
      const nowMs = performance.now();
      if (endpoints.every(({ connectionsLeft }) => connectionsLeft === 0)) return;
      stuckSinceMs = endpoints.every(isStuck) ? (stuckSinceMs ?? nowMs) : undefined;
      if (stuckSinceMs !== undefined && nowMs - stuckSinceMs >= stuckMs) return;
      if (nowMs >= untilMs) return;
      await pause(pollMs);
    }
  }

  get progress(): string {
    const what = `draining ${this.#kind} ${printable(this.#name)}`;
    if (this.#reply === undefined || this.#undo) return what;
    const { endpoints } = this.view;
    const left = endpoints.reduce((sum, each) => sum + each.left, 0);
    const moved = endpoints.reduce((sum, each) => sum + each.moved, 0);
    return `${what}: ${moved} moved, ${left} left`;
  }

  get view(): DrainView {
    const { manager = '', node = '', endpoints = [] } = this.#reply ?? {};
    return {
      kind: this.#kind,
      name: this.#name,
      isUndone: this.#undo,
      isDone: endpoints.every(({ connectionsLeft }) => connectionsLeft === 0),
      manager,
      node,
      endpoints: endpoints.map(({ name, connectionsLeft, connections, unregistered }) => ({
        name,
        moved: (this.#most.get(name) ?? 0) - connectionsLeft,
        left: connectionsLeft,
        unregistered: unregistered || null,
        connections: connections.map(({ id, client, networkService, phase, why }) => ({
          id,
          client,
          networkService,
          phase,
          why: why || null,
        })),
      })),
    };
  }
}

function isStuck({ connections, connectionsLeft }: DrainingEndpoint): boolean {
  const stuck = connections.filter(({ phase }) => phase === 'stuck').length;
  // Beyond what an answer names the rest is taken to be like those.
  return connectionsLeft === 0 || stuck === connections.length;
}

function show(view: DrainView, parsed: ParsedArguments): void {
  const format = outputFormat(parsed);
  process.stdout.write(format === 'table' ? drainText(view) : formatValue(view, format));
}

function drainText(view: DrainView): string {
  const { kind, name, endpoints, isUndone, isDone } = view;
  const shown = printable(name);
  if (isUndone) return `${kind} ${shown} takes new clients again\n`;
  const table = formatTable(
    endpoints,
    [
      { title: 'ENDPOINT', cell: (each) => each.name },
      { title: 'MOVED', cell: (each) => each.moved, align: 'right' },
      { title: 'LEFT', cell: (each) => each.left, align: 'right' },
    ],
    createPaint(process.stdout, process.env),
  );
  const staying = endpoints.flatMap(({ connections }) =>
    connections.map(
      ({ id, client, phase, why }) =>
        `${printable(id)} of ${printable(client)} is still here (${phase})${why === null ? '' : `: ${printable(why)}`}\n`,
    ),
  );
  const unknown = endpoints.flatMap(({ name: endpoint, unregistered }) =>
    unregistered === null
      ? []
      : [
          `the registry does not know yet that ${printable(endpoint)} drains: ${printable(unregistered)}\n`,
        ],
  );
  const verdict = isDone
    ? `${kind} ${shown} is drained and gets no new clients; to take it back: vwire drain ${kind} ${shown} --undo\n`
    : `${kind} ${shown} is not empty; it gets no new clients, and moving goes on\n`;
  return `${table}${staying.join('')}${unknown.join('')}${verdict}`;
}
