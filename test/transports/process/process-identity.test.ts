// Protects the question whether a process still runs from numbers that are used again, and from those who have ended
// and wait for their parents.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import {
  identityOf,
  isAlive,
  StartedProcesses,
} from '../../../transports/process/process-identity.ts';

it('knows a process for as long as it runs', async () => {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  const pid = child.pid ?? 0;
  const started = new StartedProcesses();
  started.add(pid);
  const identity = identityOf(pid);
  expect(started.alive()).toEqual([pid]);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(started.alive()).toEqual([]);
  expect(identity && isAlive(identity)).toBe(false);
  expect(identityOf(pid)).toBeUndefined();
});

it('does not take another process of the same number for it', () => {
  const own = identityOf(process.pid);
  if (own === undefined) throw new Error('this process runs');
  expect(isAlive(own)).toBe(true);
  expect(isAlive({ ...own, startTicks: own.startTicks - 1 })).toBe(false);
});

it('keeps no account of what was never there', () => {
  const started = new StartedProcesses();
  started.add(2 ** 22 + 1);
  expect(started.alive()).toEqual([]);
});
