// Protects how a role starts and ends, on real processes and signals: phases announced, timed and undone in reverse,
// exit codes, and the second signal.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, it } from 'vitest';

interface Line {
  readonly level: string;
  readonly message: string;
  readonly phase?: string;
  readonly [field: string]: unknown;
}

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** Starts the role; `until` resolves with the first line of that message, `ended` with the exit code and all lines. */
function startChild(behaviour: string) {
  const script = join(import.meta.dirname, 'phases-child.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', script, behaviour], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const lines: Line[] = [];
  const waiting = new Map<string, (line: Line) => void>();
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = JSON.parse(text) as Line;
    lines.push(line);
    waiting.get(line.message)?.(line);
  });
  return {
    child,
    until: (message: string) =>
      new Promise<Line>((resolve) => {
        const seen = lines.find((line) => line.message === message);
        if (seen === undefined) waiting.set(message, resolve);
        else resolve(seen);
      }),
    ended: once(child, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as string | null,
      lines,
    })),
  };
}

const stopped = (lines: readonly Line[]) =>
  lines.filter(({ message }) => message === 'phase stopped').map(({ phase }) => phase);

describe('a role', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('drains on %s and exits with 0', async (signal) => {
    const { child, until, ended } = startChild('plain');
    await until('role ready');
    child.kill(signal);
    const { code, lines } = await ended;
    expect(code).toBe(0);
    expect(stopped(lines)).toEqual(['two', 'one']);
    expect(lines[0]).toMatchObject({ message: 'role starting', phases: ['one', 'two', 'three'] });
    expect(lines.filter(({ message }) => message === 'phase started')).toMatchObject([
      { phase: '1/3 one', check: 'check one' },
      { phase: '2/3 two', check: 'check two' },
      { phase: '3/3 three', check: 'check three' },
    ]);
    expect(lines.find(({ message }) => message === 'phase finished')).toHaveProperty('durationMs');
  });

  it.each([
    ['start-fails', 'phase failed', ['two', 'one']],
    ['start-hangs', 'phase failed', ['two', 'one']],
    ['start-late', 'phase failed', ['three', 'two', 'one']],
    ['fails-later', 'role failed', ['two', 'one']],
    ['crashes', 'role failed', ['two', 'one']],
  ])('exits with 1 and undoes what it started: %s', async (behaviour, message, parts) => {
    const { code, lines } = await startChild(behaviour).ended;
    expect(code).toBe(1);
    expect(lines.map((line) => line.message)).toContain(message);
    expect(stopped(lines)).toEqual(parts);
  });

  it('may end itself cleanly', async () => {
    const { code, lines } = await startChild('ends-itself').ended;
    expect(code).toBe(0);
    expect(stopped(lines)).toEqual(['two', 'one']);
  });

  it('takes copies of one signal as one, and leaves at once on a second', async () => {
    const { child, until, ended } = startChild('stop-hangs');
    await until('role ready');
    child.kill('SIGINT');
    child.kill('SIGTERM');
    await until('stop signal received');
    const insist = setInterval(() => child.kill('SIGTERM'), 100);
    const { code, lines } = await ended;
    clearInterval(insist);
    expect(code).toBe(143);
    expect(lines.filter(({ message }) => message === 'stop signal received')).toHaveLength(1);
    expect(stopped(lines)).toEqual([]);
  });
});
