// What a wire needs in the switch: for each side a port over its link, a patch into another network, or one or two
// tunnels that others may use as well.

import type { Budget, VxlanEnd, Wire } from '../../protocols/ports/dataplane.ts';
import type { NodeLinks } from '../../protocols/ports/wire-ends.ts';
import type { WireLocks } from '../../protocols/wire-locks.ts';
import { egressBridge, type EgressNetworks } from './egress.ts';
import { portRefused } from './refusals.ts';
import type { Switch } from './switch.ts';
import type { SwitchRows, WireRows } from './switch-rows.ts';
import type { Owner, PatchNames, PortEnd, Side, TunnelPlace, TunnelUse } from './tags.ts';
import {
  patchNames,
  receivingTunnel,
  sendingTunnel,
  sides,
  tagVersionOf,
  tunnelName,
} from './tags.ts';
import type { FlowEnd, FlowEnds } from './wire-flows.ts';

/** What the operations on wires work with. */
export interface Joinery {
  readonly owner: Owner;
  readonly switch: Switch;
  readonly rows: SwitchRows;
  readonly networks: EgressNetworks;
  /** One change at a time of who uses a tunnel, or of a bridge that wires share. */
  readonly shared: WireLocks;
  /** Cookies of wires that are being made: their flows may be there before their rows. */
  readonly making: Set<bigint>;
}

export interface PortPart {
  readonly kind: 'port';
  readonly name: string;
  readonly end: Omit<PortEnd, 'isJoined'>;
  /** Where it is a patch. */
  readonly patch?: {
    readonly names: PatchNames;
    /** Identity of the other bridge. */
    readonly bridge: string;
    readonly vlanId: number;
  };
}

export interface TunnelPart {
  readonly kind: 'tunnel';
  readonly name: string;
  readonly place: TunnelPlace;
  readonly end: VxlanEnd;
  readonly use: Omit<TunnelUse, 'isJoined'>;
}

export type WirePart = PortPart | TunnelPart;

export const sideOf = (part: WirePart): Side =>
  part.kind === 'port' ? part.end.side : part.use.side;

/** Errors: those of the networks outside (rule `via`). */
export async function partsOf(
  joinery: Joinery,
  wire: Wire,
  links: NodeLinks,
  budget: Budget,
): Promise<readonly WirePart[]> {
  const parts: WirePart[] = [];
  for (const side of sides) {
    const end = wire[side];
    if (end.kind === 'vlan') parts.push(await patchPart(joinery, wire, side, budget));
    else if (end.kind === 'vxlan') parts.push(...tunnelParts(joinery.owner, wire.id, side, end));
    else if (end.kind !== 'kernel') throw portRefused(wire.id, side, end.kind);
    else {
      const { name = '', index = 0 } = links[side] ?? {};
      const version = tagVersionOf(joinery.owner);
      const vlan = end.vlanId === undefined ? {} : { vlanId: end.vlanId };
      const own = { wireId: wire.id, side, version, link: index, ...vlan };
      parts.push({ kind: 'port', name, end: own });
    }
  }
  return parts;
}

async function patchPart(
  joinery: Joinery,
  wire: Wire,
  side: Side,
  budget: Budget,
): Promise<PortPart> {
  const { owner, shared: locks } = joinery;
  const end = wire[side];
  if (end.kind !== 'vlan') throw portRefused(wire.id, side, end.kind);
  const bridge = await egressBridge({ ...joinery, locks }, end.via, budget);
  const names = patchNames(owner, { id: wire.id, side }, end);
  const own = { wireId: wire.id, side, version: tagVersionOf(owner), link: 0 };
  return { kind: 'port', name: names.near, end: own, patch: { names, bridge, vlanId: end.vlanId } };
}

/** One tunnel where both directions have the same UDP port. */
function tunnelParts(owner: Owner, wireId: string, side: Side, end: VxlanEnd): TunnelPart[] {
  const { vni, localPort, remotePort } = end;
  const use = { wireId, side, version: tagVersionOf(owner), vni, localPort, remotePort };
  const places = [receivingTunnel(end)];
  if (localPort !== remotePort) places.push(sendingTunnel(end));
  return places.map((place) => ({
    kind: 'tunnel',
    name: tunnelName(owner, place),
    place,
    end,
    use,
  }));
}

/** Whether the side is joined by something already, which a new part has to take over from. */
export const hasEnd = ({ ports, tunnels }: WireRows, side: Side): boolean =>
  ports.some(({ end }) => end?.side === side && end.isJoined) ||
  tunnels.some(({ use }) => use.side === side && use.isJoined);

/** The number of a port of this name. */
export type NumberOf = (name: string) => number;

/** As the switch has given them. Errors: FAILED_PRECONDITION where it gave none. */
export const givenNumbers =
  (rows: Pick<SwitchRows, 'named'>, wireId: string): NumberOf =>
  (name) => {
    const row = rows.named(name);
    if (row?.number !== undefined) return row.number;
    throw portRefused(wireId, name, row?.error ?? 'no port of that name');
  };

export function flowEndsOf(
  owner: Owner,
  wire: Wire,
  parts: readonly WirePart[],
  numberOf: NumberOf,
): FlowEnds {
  const endOf = (side: Side): FlowEnd => {
    const end = wire[side];
    if (end.kind === 'vxlan') {
      const receive = numberOf(tunnelName(owner, receivingTunnel(end)));
      const send = numberOf(tunnelName(owner, sendingTunnel(end)));
      return { kind: 'tunnel', receive, send, vni: end.vni };
    }
    const number = numberOf(parts.find((part) => sideOf(part) === side)?.name ?? '');
    const isTagged = end.kind === 'kernel' && end.vlanId !== undefined;
    return { kind: 'port', number, ...(isTagged ? { vlanId: end.vlanId } : {}) };
  };
  return { client: endOf('client'), endpoint: endOf('endpoint') };
}
