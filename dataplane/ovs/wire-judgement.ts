// What is missing of a wire in the switch, or not as it was made: pure, from its rows, its flows, and the links that
// the kernel has for it. From the same rows follow its flows, so that they can be made again after the switch lost them.

import type { FlowSpec } from '../../protocols/ovs/flow-builders.ts';
import type { FlowStatistics } from '../../protocols/ovs/flow.ts';
import type { NodeLinks } from '../../protocols/ports/wire-ends.ts';
import type { PortRow, SwitchRows, WireRows } from './switch-rows.ts';
import type { Owner, Side, TunnelPlace } from './tags.ts';
import { farNameOf, sides, tunnelName, wireCookie } from './tags.ts';
import { type FlowEnd, isSameFlow, placeOf, wireFlows } from './wire-flows.ts';

const names: Readonly<Record<Side, string>> = { client: 'client', endpoint: 'Endpoint' };

/** The flows that the joined ends of the wire need; undefined while one of them is missing or has no number. */
export function flowsFromRows(
  owner: Owner,
  wireId: string,
  rows: WireRows,
): Record<Side, FlowSpec> | undefined {
  const client = flowEndOf(rows, 'client');
  const endpoint = flowEndOf(rows, 'endpoint');
  if (client === undefined || endpoint === undefined) return undefined;
  return wireFlows(wireCookie(owner, wireId), { client, endpoint });
}

/** The number that the switch gave, else the one that it is asked for: it keeps to it after a restart. */
const numberOf = ({ number, requested }: PortRow): number | undefined => number ?? requested;

function flowEndOf(rows: WireRows, side: Side): FlowEnd | undefined {
  const port = rows.ports.find(({ end }) => end?.side === side && end.isJoined);
  if (port !== undefined) {
    const number = numberOf(port);
    const vlanId = port.end?.vlanId;
    if (number === undefined) return undefined;
    return { kind: 'port', number, ...(vlanId === undefined ? {} : { vlanId }) };
  }
  const uses = rows.tunnels.filter(({ use }) => use.side === side && use.isJoined);
  const tunnelOn = (udpPort: number | undefined): number | undefined => {
    const row = uses.find((each) => each.row.options.get('dst_port') === String(udpPort))?.row;
    return row && numberOf(row);
  };
  const [first] = uses;
  const receive = tunnelOn(first?.use.localPort);
  const send = tunnelOn(first?.use.remotePort);
  if (first === undefined || receive === undefined || send === undefined) return undefined;
  return { kind: 'tunnel', receive, send, vni: first.use.vni };
}

export interface SeenInSwitch {
  readonly owner: Owner;
  readonly wireId: string;
  readonly rows: WireRows;
  /** With the wire's cookie. */
  readonly flows: readonly FlowStatistics[];
  readonly links: NodeLinks;
  /** The VLAN in which the patch of this name ends; undefined where the other bridge has none. */
  readonly farEnd: (near: string) => number | undefined;
}

/** As `SeenInSwitch.farEnd`. */
export const farEndIn =
  (rows: Pick<SwitchRows, 'tagOf'>) =>
  (near: string): number | undefined =>
    rows.tagOf(farNameOf(near) ?? '');

export const isTunnelTo = (
  { options }: PortRow,
  { localIp, remoteIp, udpPort }: TunnelPlace,
): boolean =>
  options.get('local_ip') === localIp &&
  options.get('remote_ip') === remoteIp &&
  options.get('dst_port') === String(udpPort) &&
  options.get('key') === 'flow';

/** One line each, for people; empty where all is as it was made. */
export function missingInSwitch(seen: SeenInSwitch): string[] {
  const { owner, wireId, rows, flows } = seen;
  const missing = sides.flatMap((side) => missingOfEnd(seen, side));
  const leftOver = rows.ports.filter(({ end }) => end?.isJoined === false);
  missing.push(...leftOver.map(({ name }) => `port ${name} is left over`));
  const wanted = flowsFromRows(owner, wireId, rows);
  if (wanted === undefined) return missing;
  return [...missing, ...wrongFlows(wanted, flows)];
}

function missingOfEnd(seen: SeenInSwitch, side: Side): string[] {
  const { owner, rows, links } = seen;
  const towards = `towards the ${names[side]}`;
  const ports = rows.ports.filter(({ end }) => end?.side === side && end.isJoined);
  const uses = rows.tunnels.filter(({ use }) => use.side === side && use.isJoined);
  const link = links[side];
  const [port, ...others] = ports;
  if (port === undefined && uses.length === 0) {
    return [`the ${link === undefined ? 'link' : 'port'} ${towards} is gone`];
  }
  const missing = others.map(({ name }) => `port ${name} is left over`);
  if (port !== undefined && port.end?.link !== 0) {
    missing.push(...problemsOfPort(port, link, towards));
  } else if (port !== undefined) missing.push(...problemsOfPatch(port, seen.farEnd, towards));
  const unused = rows.tunnels.some(({ use }) => use.side === side && !use.isJoined);
  if (unused) missing.push(`a tunnel ${towards} is left over`);
  for (const { row, use } of uses) {
    if (row.error !== undefined) missing.push(`tunnel ${row.name} ${towards}: ${row.error}`);
    if (isTampered(owner, row)) missing.push(`tunnel ${row.name} ${towards} leads elsewhere`);
    const isThere = [use.localPort, use.remotePort].every((port_) =>
      uses.some((each) => each.row.options.get('dst_port') === String(port_)),
    );
    if (!isThere) missing.push(`a tunnel ${towards} is gone`);
  }
  return [...new Set(missing)];
}

function problemsOfPort(
  { name, end, error, number }: PortRow,
  link: NodeLinks['client'],
  towards: string,
): string[] {
  if (link === undefined) return [`the link of port ${name} ${towards} is gone`];
  if (end?.link !== link.index) return [`port ${name} ${towards} has lost its link`];
  if (link.name !== name) return [`the link of port ${name} ${towards} is called ${link.name}`];
  if (error !== undefined) return [`port ${name} ${towards}: ${error}`];
  return number === undefined ? [`port ${name} ${towards} has no number`] : [];
}

function problemsOfPatch(
  { name, error, number }: PortRow,
  farEnd: SeenInSwitch['farEnd'],
  towards: string,
): string[] {
  if (farEnd(name) === undefined) return [`the far end of patch ${name} ${towards} is gone`];
  if (error !== undefined) return [`patch ${name} ${towards}: ${error}`];
  return number === undefined ? [`patch ${name} ${towards} has no number`] : [];
}

/** The name of a tunnel follows from where it leads to. */
function isTampered(owner: Owner, { type, options, name }: PortRow): boolean {
  const text = (key: string): string => String(options.get(key));
  const place = {
    localIp: text('local_ip'),
    remoteIp: text('remote_ip'),
    udpPort: Number(text('dst_port')),
  };
  return type !== 'vxlan' || text('key') !== 'flow' || tunnelName(owner, place) !== name;
}

function wrongFlows(bySide: Record<Side, FlowSpec>, found: readonly FlowStatistics[]): string[] {
  const places = new Map(found.map((flow) => [placeOf(flow), flow]));
  const missing = sides.flatMap((side) => {
    const spec = bySide[side];
    const there = places.get(placeOf(spec));
    if (there === undefined) return [`the flow from the ${names[side]} is gone`];
    return isSameFlow(there, spec) ? [] : [`the flow from the ${names[side]} leads elsewhere`];
  });
  const wanted = new Set(Object.values(bySide).map(placeOf));
  const extra = found.filter((flow) => !wanted.has(placeOf(flow))).length;
  return extra === 0 ? missing : [...missing, `${extra} flows are left over`];
}
