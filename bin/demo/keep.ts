// Leaving the demo up until the user has seen enough, and saying what can be looked at. Every line that is printed as
// a command works as it stands.

import { readFileSync } from 'node:fs';
import { ownCommand } from '../commands/own-command.ts';
import type { Topology } from './topology.ts';

export interface KeptMesh {
  /** State directory of the node whose manager is to be asked. */
  readonly nodeDir: string;
  readonly connectionId: string;
  /** Commands that look from inside a workload, with what they show. */
  readonly inside: readonly (readonly [string, string])[];
}

/** Commands for people, each with what it shows. */
export function keepHints(mesh: KeptMesh): readonly (readonly [string, string])[] {
  const vwire = ownCommand();
  const where = `--state-dir ${mesh.nodeDir}`;
  return [
    [`${vwire} status ${where}`, 'what runs'],
    [`${vwire} get nodes ${where}`, 'both nodes'],
    [`${vwire} get endpoints ${where}`, 'forwarders and servers'],
    [`${vwire} get connections ${where}`, 'both wires'],
    [`${vwire} describe connection ${mesh.connectionId} ${where}`, 'one wire, hop by hop'],
    ...mesh.inside,
  ];
}

export async function keepUntilSignal(mesh: KeptMesh): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  const lines = keepHints(mesh).map(([command, text]) => `  ${command}   # ${text}`);
  process.stderr.write(
    ['', 'The mesh stays up until Ctrl-C. Look around from another terminal:', ...lines, ''].join(
      '\n',
    ),
  );
  await ended;
}

/** How another terminal gets into a namespace of this process; that of an ordinary user lies in a user namespace. */
export function insideCommands({ pairs }: Topology): KeptMesh['inside'] {
  const user = isInitialUserNamespace()
    ? ''
    : `--user=/proc/${process.pid}/ns/user --preserve-credentials `;
  return pairs.map(({ client }) => [
    `nsenter ${user}--net=${client.namespace.path} ip address`,
    `inside ${client.name}`,
  ]);
}

/** In the initial user namespace every id is its own: `0 0 4294967295`. */
function isInitialUserNamespace(): boolean {
  return /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));
}
