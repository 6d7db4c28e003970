// Protects calls on a machine that is too busy to let a process run: the time that a policy has is its own, so that nobody is
// refused since others were running. A process that judges without a pause is stopped again and again for longer than a
// policy may take.

import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as passed } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { evaluationMs } from '../../../transports/policy-wasm/policy-module.ts';

it('refuses nobody for the time that the process did not run', async () => {
  const program = join(import.meta.dirname, 'judging-child.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  try {
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe('judging');
    for (let time = 0; time < 5; time += 1) {
      child.kill('SIGSTOP');
      await passed(1.5 * evaluationMs);
      child.kill('SIGCONT');
      await passed(evaluationMs / 10);
    }
    const ended = once(child, 'exit');
    child.stdin.end();
    expect((await lines.next()).value).toBe('[]');
    await ended;
  } finally {
    child.kill('SIGKILL');
  }
});
