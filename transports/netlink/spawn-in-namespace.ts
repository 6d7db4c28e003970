// Starting a child process inside a network namespace, without a helper program: the calling thread goes there,
// forks, and comes back before anything else can run on it.

import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';

import { inNamespace } from './namespace-switch.ts';
import { openNamespace } from './namespace-url.ts';

/** As `spawn` of node:child_process. NOT_FOUND: no such namespace; PERMISSION_DENIED: no right to enter it. */
export function spawnInNamespace(
  namespaceUrl: string,
  command: readonly [file: string, ...args: string[]],
  options: SpawnOptions = {},
): ChildProcess {
  const [file, ...args] = command;
  const descriptor = openNamespace(namespaceUrl);
  try {
    return inNamespace(descriptor, () => spawn(file, args, options));
  } finally {
    closeSync(descriptor);
  }
}
