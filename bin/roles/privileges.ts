// What a child process may do. Started by root, every role and the bus give up all capabilities but those that they
// need: only the forwarder programs the kernel. An ordinary user has none to give up.

import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * Capabilities of capabilities(7) by role, with its kind where it has one: a forwarder makes links and enters namespaces, and finds the namespaces of
 * workloads that run as other users.
 */
const needed: Readonly<Record<string, readonly string[]>> = {
  forwarder: ['net_admin', 'sys_admin', 'sys_ptrace'],
  // Starts a forwarder, and cannot hand on what it does not have.
  node: ['net_admin', 'sys_admin', 'sys_ptrace', 'setpcap'],
  // Pings the other end of its wires.
  nsc: ['net_raw'],
  // Routes between its two wires, in its own namespace.
  'nse passthrough': ['net_admin'],
  // Makes namespaces with their loopback up and starts Endpoints in them, which get nothing of it.
  supplier: ['net_admin', 'sys_admin', 'setpcap'],
};

/** What a person should know where nothing can be given up. */
export function privilegeWarning(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  if (process.getuid?.() !== 0 || findOnPath('setpriv', environment) !== undefined)
    return undefined;
  return 'there is no setpriv (util-linux) on PATH: every process keeps all rights of root';
}

/** The command that runs `command` with no more than the role needs: setpriv of util-linux, where there is one. */
export function withLeastPrivilege(
  role: string,
  command: readonly [string, ...string[]],
): readonly [string, ...string[]] {
  const setpriv = process.getuid?.() === 0 ? findOnPath('setpriv', process.env) : undefined;
  if (setpriv === undefined) return command;
  const kept = (needed[role] ?? []).map((name) => `,+${name}`).join('');
  return [
    setpriv,
    `--bounding-set=-all${kept}`,
    '--inh-caps=-all',
    '--no-new-privs',
    '--',
    ...command,
  ];
}

function findOnPath(program: string, environment: NodeJS.ProcessEnv): string | undefined {
  const folders = (environment['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}
