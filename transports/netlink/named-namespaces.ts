// Network namespaces by name, as `ip netns` keeps them: files of one directory that namespaces are bound to. They live
// without any process in them until they are removed. Invariant: no descriptor of one is kept.

import { existsSync, mkdirSync } from 'node:fs';
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createNetworkNamespace, unbind } from './network-namespace.ts';
import { spawnInNamespace } from './spawn-in-namespace.ts';

export interface NamedNamespaces {
  exists(name: string): boolean;
  /** With its loopback up. PERMISSION_DENIED without CAP_SYS_ADMIN. */
  make(name: string): void;
  /** One that is not there is no error. */
  remove(name: string): void;
  spawn(name: string, command: readonly [string, ...string[]], options: SpawnOptions): ChildProcess;
}

export function createNamedNamespaces(directory: string): NamedNamespaces {
  const pathOf = (name: string): string => join(directory, name);
  return {
    exists: (name) => existsSync(pathOf(name)),
    make(name) {
      mkdirSync(directory, { recursive: true, mode: 0o755 });
      createNetworkNamespace(pathOf(name)).letGo();
    },
    remove(name) {
      if (existsSync(pathOf(name))) unbind(pathOf(name));
    },
    spawn: (name, command, options) =>
      spawnInNamespace(pathToFileURL(pathOf(name)).href, command, options),
  };
}
