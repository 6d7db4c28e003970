// The positions of a chain, and which of them a Go binary of the reference can take on this machine. Nothing of the
// reference is part of this repository: whoever has its binaries names them by variables.

import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { whyNoOvs } from '../sandbox/ovs.ts';

/** On one node, in the order in which data depends on them, which need not be the order of start. */
export const positions = ['registry', 'nsmgr', 'forwarder', 'nse', 'nsc'] as const;

/** Over two nodes: the Endpoint and the far ones are on the second, all others on the first. */
export const positionsOverTwo = [
  'registry',
  'nsmgr',
  'forwarder',
  'far-nsmgr',
  'far-forwarder',
  'nse',
  'nsc',
] as const;

/** What is at a position, in both languages. */
export type Role = (typeof positions)[number];

export type Position = (typeof positionsOverTwo)[number];

const roles: Readonly<Record<Position, Role>> = {
  registry: 'registry',
  nsmgr: 'nsmgr',
  forwarder: 'forwarder',
  'far-nsmgr': 'nsmgr',
  'far-forwarder': 'forwarder',
  nse: 'nse',
  nsc: 'nsc',
};

export const roleOf = (position: Position): Role => roles[position];

/** Paths of cmd-registry-memory, cmd-nsmgr, cmd-forwarder-ovs, cmd-nse-icmp-responder and cmd-nsc. */
const variables: Readonly<Record<Role, string>> = {
  registry: 'VWIRE_GO_REGISTRY',
  nsmgr: 'VWIRE_GO_NSMGR',
  forwarder: 'VWIRE_GO_FORWARDER',
  nse: 'VWIRE_GO_NSE',
  nsc: 'VWIRE_GO_NSC',
};

/** What cmd-forwarder-ovs runs, or looks for before it runs anything. */
const forwarderPrograms = ['ovs-vsctl', 'ovs-ofctl', 'ip', 'arping'] as const;

export const goBinary = (role: Role): string => process.env[variables[role]] ?? '';

/** Undefined where all of these can be Go's; else the reason, for a printed skip. */
export function whyNoGo(positionsOfGo: readonly Position[]): string | undefined {
  const wanted = [...new Set(positionsOfGo.map(roleOf))];
  const missing = wanted.filter((role) => goBinary(role) === '');
  if (missing.length > 0) {
    return `${missing.map((role) => variables[role]).join(', ')} not set`;
  }
  const broken = wanted.find((role) => !isExecutable(goBinary(role)));
  if (broken !== undefined) return `${variables[broken]} names no program`;
  return wanted.includes('forwarder') ? whyNoGoForwarder() : undefined;
}

function whyNoGoForwarder(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const missing = forwarderPrograms.filter(
    (name) => !folders.some((folder) => isExecutable(join(folder, name))),
  );
  if (missing.length > 0) return `no ${missing.join(', ')} on PATH, which cmd-forwarder-ovs needs`;
  return whyNoOvs();
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
