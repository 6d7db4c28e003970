// An ordinary user has no right to make network namespaces, but may have the right to make a user namespace in which
// it has. The demo then runs itself anew inside one; nothing outside of it can be touched from there.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { NsmError } from '../../protocols/errors.ts';

/** The exit code of the run inside; undefined where this process has the rights already. */
export async function enterUserNamespace(args: readonly string[]): Promise<number | undefined> {
  if (process.getuid?.() === 0) return undefined;
  const [executable] = process.argv.slice(1);
  const child = spawn(
    'unshare',
    [
      '--user',
      '--map-root-user',
      '--net',
      '--mount',
      '--',
      process.execPath,
      ...process.execArgv,
      executable ?? '',
      ...args,
    ],
    { stdio: 'inherit' },
  );
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, forward);
  try {
    const [code] = (await once(child, 'exit')) as [number | null];
    return code ?? 1;
  } catch (error) {
    throw new NsmError('UNAVAILABLE', 'could not run unshare', {
      expected: 'unshare of util-linux on PATH',
      cause: error,
    });
  } finally {
    for (const signal of signals) process.off(signal, forward);
  }
}
