// Joining the ends of one wire: their ports and tunnels, then the switch-over in one bundle, then away with what was
// before. NSM concept: the cross connect of forwarder-ovs.
// Invariants: until the bundle the old way is whole; what an end replaces keeps its port until the new one is joined; a
// failure takes back what was done here and no more. The wire's lock is held.

import type { FlowSpec } from '../../protocols/ovs/flow-builders.ts';
import type { OvsdbOperation } from '../../protocols/ovs/ovsdb-operations.ts';
import type { Budget, VxlanEnd, Wire } from '../../protocols/ports/dataplane.ts';
import type { Joined, NodeLinks } from '../../protocols/ports/wire-ends.ts';
import { type BridgeAddress, addPort, addTunnel } from './port-operations.ts';
import { dropPorts, dropUse, repairTunnel, setUse, tagPort } from './port-operations.ts';
import type { Switch } from './switch.ts';
import type { PortRow, SwitchRows, WireRows } from './switch-rows.ts';
import type { Owner, PortEnd, Side, TunnelPlace, TunnelUse } from './tags.ts';
import {
  receivingTunnel,
  sendingTunnel,
  sides,
  tagVersionOf,
  tunnelName,
  wireCookie,
} from './tags.ts';
import { laterVersion, portRefused, tunnelRefused, vniTaken } from './refusals.ts';
import type { WireLocks } from '../../protocols/wire-locks.ts';
import { type FlowEnd, flowChanges, revertedFlows, wireFlows } from './wire-flows.ts';

export interface Joinery {
  readonly owner: Owner;
  readonly switch: Switch;
  readonly rows: SwitchRows;
  /** One change at a time of who uses a tunnel. */
  readonly tunnels: WireLocks;
}

/** Time for taking back what was done, whatever became of the caller's own. */
const undoBudget: Budget = { timeoutMs: 5_000 };

export async function joinWire(
  joinery: Joinery,
  wire: Wire,
  links: NodeLinks,
  budget: Budget,
): Promise<Joined> {
  const at = await joinery.switch.address(budget);
  checkVersion(joinery, wire.id);
  const undos: (() => Promise<void>)[] = [];
  const undo = async (): Promise<void> => {
    // What could not be taken back is in the rows, and the next operation starts from those.
    for (const step of undos.toReversed()) await step().catch(() => {});
  };
  try {
    await replaceStale(joinery, { at, wire, links, budget });
    const wanted = await addEnds(joinery, { at, wire, links, budget }, undos);
    await switchOver(joinery, { wire, wanted, budget }, undos);
  } catch (error) {
    await undo();
    throw error;
  }
  return { undo, settle: () => settle(joinery, { at, wire, links, budget }) };
}

interface Join {
  readonly at: BridgeAddress;
  readonly wire: Wire;
  readonly links: NodeLinks;
  readonly budget: Budget;
}

function checkVersion({ rows, owner }: Joinery, wireId: string): void {
  const readable = tagVersionOf(owner);
  const later = versionsOf(rows.of(wireId)).find((version) => version > readable);
  if (later !== undefined) throw laterVersion(wireId, later, readable);
}

export const versionsOf = ({ ports, tunnels }: WireRows): number[] => [
  ...ports.flatMap(({ end }) => end?.version ?? []),
  ...tunnels.map(({ use }) => use.version),
];

/**
 * A port whose link is another one by now (somebody deleted it, and it has been made again) is of no use, and a switch
 * does not notice by itself. A tunnel that others may use as well is put right as it stands.
 */
async function replaceStale({ rows, ...joinery }: Joinery, join: Join): Promise<void> {
  const names = sides.flatMap((side) => {
    const link = join.links[side];
    const row = link && rows.named(link.name);
    if (link === undefined || row === undefined) return [];
    const isRight = row.end?.link === link.index && row.number !== undefined;
    return isRight && row.end?.wireId === join.wire.id ? [] : [link.name];
  });
  const tunnels = placesOf(join.wire).flatMap(({ place }) => {
    const row = rows.named(tunnelName(joinery.owner, place));
    return row === undefined || isTunnelTo(row, place) ? [] : repairTunnel(row.uuid, place);
  });
  const ports = names.flatMap((name) => rows.portId(name) ?? []);
  await joinery.switch.apply([...dropPorts(join.at, ports), ...tunnels], join.budget);
}

export const isTunnelTo = (
  { options }: PortRow,
  { localIp, remoteIp, udpPort }: TunnelPlace,
): boolean =>
  options.get('local_ip') === localIp &&
  options.get('remote_ip') === remoteIp &&
  options.get('dst_port') === String(udpPort) &&
  options.get('key') === 'flow';

interface Place {
  readonly side: Side;
  readonly end: VxlanEnd;
  readonly place: TunnelPlace;
}

/** Each tunnel that the wire uses; one where both directions have the same UDP port. */
function placesOf(wire: Wire): Place[] {
  return sides.flatMap((side) => {
    const end = wire[side];
    if (end.kind !== 'vxlan') return [];
    const places = [receivingTunnel(end)];
    if (end.localPort !== end.remotePort) places.push(sendingTunnel(end));
    return places.map((place) => ({ side, end, place }));
  });
}

/** Adds what is missing, and says where the flows of each side go. */
async function addEnds(
  joinery: Joinery,
  join: Join,
  undos: (() => Promise<void>)[],
): Promise<Record<Side, FlowEnd>> {
  const { rows, owner } = joinery;
  const { at, wire, links, budget } = join;
  const version = tagVersionOf(owner);
  const added: string[] = [];
  const usesAdded: TunnelUse[] = [];
  const configuration = await joinery.tunnels.hold(tunnelsOf(joinery, wire), () => {
    const before = rows.of(wire.id);
    const operations: OvsdbOperation[] = [];
    const numbers = rows.freeNumbers(placesOf(wire).length + sides.length);
    const nextNumber = (): number => numbers.pop() ?? 0;
    for (const side of sides) {
      const link = links[side];
      if (link === undefined || rows.named(link.name) !== undefined) continue;
      const isJoined = !hasEnd(before, side);
      const end: PortEnd = { wireId: wire.id, side, version, link: link.index, isJoined };
      operations.push(
        ...addPort(at, added.length, { name: link.name, requested: nextNumber(), end }),
      );
      added.push(link.name);
    }
    for (const { side, end, place } of placesOf(wire)) {
      checkVni(joinery, wire.id, end);
      const name = tunnelName(owner, place);
      const row = rows.named(name);
      const { vni, localPort, remotePort } = end;
      const isJoined = !hasEnd(before, side);
      const use = { wireId: wire.id, side, version, vni, localPort, remotePort, isJoined };
      if (row === undefined) {
        operations.push(
          ...addTunnel(at, added.length, { name, requested: nextNumber(), place, use }),
        );
        added.push(name);
      } else if (!row.uses.some((each) => isSameUse(each, use))) {
        operations.push(...setUse(row.uuid, use));
        const old = row.uses.find((each) => each.wireId === wire.id && each.side === side);
        if (old === undefined) usesAdded.push(use);
        else
          undos.push(
            async () => void (await joinery.switch.begin(setUse(row.uuid, old), undoBudget)),
          );
      }
    }
    undos.push(() => takeBack(joinery, at, wire, { added, usesAdded }));
    return joinery.switch.begin(operations, budget);
  });
  await joinery.switch.applied(configuration, budget);
  for (const name of added) checkOpened(rows, name, wire);
  const client = flowEnd(joinery, join, 'client');
  return { client, endpoint: flowEnd(joinery, join, 'endpoint') };
}

const isSameUse = (found: TunnelUse, wanted: TunnelUse): boolean =>
  JSON.stringify({ ...found, isJoined: true }) === JSON.stringify({ ...wanted, isJoined: true });

/** Whether the side is joined by something already, which a new end has to take over from. */
const hasEnd = ({ ports, tunnels }: WireRows, side: Side): boolean =>
  ports.some(({ end }) => end?.side === side && end.isJoined) ||
  tunnels.some(({ use }) => use.side === side && use.isJoined);

/** Flows of two wires with one VNI from one peer could not be told apart. */
function checkVni({ rows, owner }: Joinery, wireId: string, end: VxlanEnd): void {
  const row = rows.named(tunnelName(owner, receivingTunnel(end)));
  const holder = row?.uses.find(
    (use) => use.wireId !== wireId && use.vni === end.vni && use.localPort === end.localPort,
  );
  if (holder !== undefined) throw vniTaken(wireId, end.vni, `held by wire ${holder.wireId}`);
}

function checkOpened(rows: SwitchRows, name: string, wire: Wire): void {
  const row = rows.named(name);
  if (row?.number !== undefined) return;
  const found = row?.error ?? 'the switch gave it no number';
  const tunnel = [wire.client, wire.endpoint].find((end) => end.kind === 'vxlan');
  if (tunnel !== undefined && row?.type === 'vxlan') throw tunnelRefused(wire.id, tunnel, found);
  throw portRefused(wire.id, name, found);
}

function flowEnd({ rows, owner }: Joinery, { wire, links }: Join, side: Side): FlowEnd {
  const end = wire[side];
  const numberOf = (name: string): number => {
    const number = rows.named(name)?.number;
    if (number !== undefined) return number;
    throw portRefused(wire.id, name, rows.named(name)?.error ?? 'no port of that name');
  };
  if (end.kind === 'kernel') return { kind: 'port', number: numberOf(links[side]?.name ?? '') };
  const receive = numberOf(tunnelName(owner, receivingTunnel(end)));
  const send = numberOf(tunnelName(owner, sendingTunnel(end)));
  return { kind: 'tunnel', receive, send, vni: end.vni };
}

async function switchOver(
  { switch: bridge, owner }: Joinery,
  { wire, wanted, budget }: { wire: Wire; wanted: Record<Side, FlowEnd>; budget: Budget },
  undos: (() => Promise<void>)[],
): Promise<void> {
  const cookie = wireCookie(owner, wire.id);
  const { client, endpoint } = wireFlows(cookie, wanted);
  const specs: readonly FlowSpec[] = [client, endpoint];
  const found = await bridge.flowsOf(cookie, budget);
  const changes = flowChanges(found, specs);
  if (changes.length === 0) return;
  undos.push(() => bridge.commit(revertedFlows(found, specs), undoBudget));
  await bridge.commit(changes, budget);
}

/** A tunnel made here may by now have other users. */
async function takeBack(
  joinery: Joinery,
  at: BridgeAddress,
  wire: Wire,
  { added, usesAdded }: { added: readonly string[]; usesAdded: readonly TunnelUse[] },
): Promise<void> {
  const { rows } = joinery;
  await joinery.tunnels.hold(tunnelsOf(joinery, wire), async () => {
    const made = rows
      .of(wire.id)
      .tunnels.filter(
        ({ row, use }) =>
          added.includes(row.name) || usesAdded.some((each) => isSameUse(use, each)),
      );
    const ports = added.filter((name) => rows.named(name)?.end !== undefined);
    await joinery.switch.begin(
      [...leaveTunnels(joinery, at, made), ...dropPortsNamed(joinery, at, ports)],
      undoBudget,
    );
  });
}

const tunnelsOf = ({ owner }: Joinery, wire: Wire): string[] =>
  placesOf(wire).map(({ place }) => tunnelName(owner, place));

/** The new ends count from now on; what they replace goes, a tunnel with the last that used it. */
async function settle(joinery: Joinery, { at, wire, links, budget }: Join): Promise<void> {
  const { rows, owner } = joinery;
  const version = tagVersionOf(owner);
  const { ports, tunnels } = rows.of(wire.id);
  const names = [...new Set([...tunnelsOf(joinery, wire), ...tunnels.map(({ row }) => row.name)])];
  const configuration = await joinery.tunnels.hold(names, () => {
    const operations: OvsdbOperation[] = [];
    const gone: string[] = [];
    for (const { uuid, name, end } of ports) {
      if (end === undefined) continue;
      const isWanted = links[end.side]?.name === name;
      if (!isWanted) gone.push(name);
      else if (!end.isJoined || end.version !== version) {
        operations.push(...tagPort(at, uuid, { ...end, version, isJoined: true }));
      }
    }
    const places = placesOf(wire);
    const left: WireRows['tunnels'][number][] = [];
    for (const tunnel of rows.of(wire.id).tunnels) {
      const { row, use } = tunnel;
      const wanted = places.find(
        ({ side, place }) => side === use.side && tunnelName(owner, place) === row.name,
      );
      if (wanted === undefined) left.push(tunnel);
      else if (!use.isJoined || use.version !== version) {
        operations.push(...setUse(row.uuid, { ...use, version, isJoined: true }));
      }
    }
    operations.push(...leaveTunnels(joinery, at, left), ...dropPortsNamed(joinery, at, gone));
    return joinery.switch.begin(operations, budget);
  });
  await joinery.switch.applied(configuration, budget);
}

/** A tunnel goes with the last that used it. */
export function leaveTunnels(
  joinery: Joinery,
  at: BridgeAddress,
  left: WireRows['tunnels'],
): OvsdbOperation[] {
  const leaving = new Map<PortRow, TunnelUse[]>();
  for (const { row, use } of left) leaving.set(row, [...(leaving.get(row) ?? []), use]);
  return [...leaving].flatMap(([row, uses]) =>
    uses.length === row.uses.length
      ? dropPortsNamed(joinery, at, [row.name])
      : uses.flatMap((use) => dropUse(row.uuid, use)),
  );
}

export function dropPortsNamed(
  { rows }: Joinery,
  at: BridgeAddress,
  names: readonly string[],
): OvsdbOperation[] {
  return dropPorts(
    at,
    names.flatMap((name) => rows.portId(name) ?? []),
  );
}
