// The positions of a chain, and which of them a Go binary of the reference can take on this machine. Nothing of the
// reference is part of this repository: whoever has its binaries names them by variables.

import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { whyNoOvs } from '../sandbox/ovs.ts';

/** In the order in which data depends on them, which need not be the order of start. */
export const positions = ['registry', 'nsmgr', 'forwarder', 'nse', 'nsc'] as const;

export type Position = (typeof positions)[number];

/** Paths of cmd-registry-memory, cmd-nsmgr, cmd-forwarder-ovs, cmd-nse-icmp-responder and cmd-nsc. */
const variables: Readonly<Record<Position, string>> = {
  registry: 'VWIRE_GO_REGISTRY',
  nsmgr: 'VWIRE_GO_NSMGR',
  forwarder: 'VWIRE_GO_FORWARDER',
  nse: 'VWIRE_GO_NSE',
  nsc: 'VWIRE_GO_NSC',
};

/** What cmd-forwarder-ovs runs, or looks for before it runs anything. */
const forwarderPrograms = ['ovs-vsctl', 'ovs-ofctl', 'ip', 'arping'] as const;

export const goBinary = (position: Position): string => process.env[variables[position]] ?? '';

/** Undefined where all of these can be Go's; else the reason, for a printed skip. */
export function whyNoGo(wanted: readonly Position[]): string | undefined {
  const missing = wanted.filter((position) => goBinary(position) === '');
  if (missing.length > 0) {
    return `${missing.map((position) => variables[position]).join(', ')} not set`;
  }
  const broken = wanted.find((position) => !isExecutable(goBinary(position)));
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
