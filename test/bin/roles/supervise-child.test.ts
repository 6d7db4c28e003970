// Protects a supervisor's own life: a child that cannot be started again (no processes, no descriptors, no file) is
// tried again with back-off and never ends the process that supervises it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { superviseChild } from '../../../bin/roles/supervise-child.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { type Log, silentLog } from '../../../protocols/ports/log.ts';
import { type Child, startChild } from '../../../transports/process/child.ts';

const serves = "console.log('ready child'); process.stdin.on('end', () => process.exit()).resume()";

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'vwire-supervise-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const run = (command: string): Child =>
  startChild({
    name: 'child',
    command,
    args: ['-e', serves],
    env: { PATH: process.env['PATH'] },
    logFile: join(directory, 'child.log'),
  });

/** Supervises a child whose starts are given by number; resolves `back` with the number of the start that held. */
async function supervise(start: (attempt: number) => Child) {
  const told: string[] = [];
  let attempts = 0;
  let onBack = (): void => {};
  const back = new Promise<void>((resolve) => {
    onBack = resolve;
  });
  const log: Log = {
    ...silentLog,
    info: onBack,
    error: (message) => void told.push(message),
  };
  const supervised = await superviseChild({
    name: 'child',
    start: () => start((attempts += 1)),
    readyTimeoutMs: 30_000,
    log,
    onStarted: () => {},
  });
  return { supervised, told, back, attempts: () => attempts };
}

describe('a supervised child', () => {
  it('is tried again where it cannot be started again', async () => {
    const { supervised, told, back, attempts } = await supervise((attempt) => {
      if (attempt === 2) throw new NsmError('RESOURCE_EXHAUSTED', 'too many open files');
      return run(attempt === 3 ? join(directory, 'missing') : process.execPath);
    });
    process.kill(supervised.pid, 'SIGKILL');
    await back;
    expect(attempts()).toBe(4);
    expect(supervised.restarts).toBe(3);
    expect(told).toEqual([
      'a child process ended and is started again',
      'a child process could not be started',
      'a child process could not be started',
    ]);
    await supervised.stop(5_000);
  });

  it('is not started again by a supervisor that was told to stop', async () => {
    let failed = (): void => {};
    const tried = new Promise<void>((resolve) => {
      failed = resolve;
    });
    const { supervised, attempts } = await supervise((attempt) => {
      if (attempt === 1) return run(process.execPath);
      failed();
      throw new NsmError('RESOURCE_EXHAUSTED', 'too many processes');
    });
    process.kill(supervised.pid, 'SIGKILL');
    await tried;
    await supervised.stop(5_000);
    expect(attempts()).toBe(2);
  });

  it('says at the first start that there is no such file', () => {
    expect(() => run(join(directory, 'missing'))).toThrow('could not be started');
  });
});
