// Joining the ends of one wire: their ports and tunnels, then the switch-over in one bundle, then away with what was
// before. NSM concept: the cross connect of forwarder-ovs.
// Invariants: until the bundle the old way is whole; what an end replaces keeps its port until the new one is joined; a
// failure takes back what was done here and no more. The wire's lock is held.

import type { FlowSpec } from '../../protocols/ovs/flow-builders.ts';
import type { OvsdbOperation } from '../../protocols/ovs/ovsdb-operations.ts';
import type { Budget, VxlanEnd, Wire } from '../../protocols/ports/dataplane.ts';
import type { Joined, NodeLinks } from '../../protocols/ports/wire-ends.ts';
import { type BridgeAddress, addFarEnd, addPort, addTunnel } from './port-operations.ts';
import { dropPorts, dropUse, repairTunnel, setUse, tagPort } from './port-operations.ts';
import type { PortRow, SwitchRows, WireRows } from './switch-rows.ts';
import type { Side, TunnelUse } from './tags.ts';
import { farNameOf, receivingTunnel, tagVersionOf, tunnelName, wireCookie } from './tags.ts';
import { laterVersion, portRefused, tunnelRefused, vniTaken } from './refusals.ts';
import type { FlowEnd, SwitchOver } from './wire-flows.ts';
import { revertedFlows, switchOverFlows, wireFlows } from './wire-flows.ts';
import { isTunnelTo } from './wire-judgement.ts';
import {
  flowEndOf,
  hasEnd,
  type Joinery,
  partsOf,
  type PortPart,
  sideOf,
  type TunnelPart,
  type WirePart,
} from './wire-parts.ts';

/** Time for taking back what was done, whatever became of the caller's own. */
const undoBudget: Budget = { timeoutMs: 5_000 };

interface Join extends Joinery {
  readonly at: BridgeAddress;
  readonly wire: Wire;
  readonly parts: readonly WirePart[];
  readonly budget: Budget;
}

type Undos = (() => Promise<unknown>)[];

export async function joinWire(
  joinery: Joinery,
  wire: Wire,
  links: NodeLinks,
  budget: Budget,
): Promise<Joined> {
  const at = await joinery.switch.address(budget);
  checkVersion(joinery, wire.id);
  const parts = await partsOf(joinery, wire, links, budget);
  const join: Join = { ...joinery, at, wire, parts, budget };
  const undos: Undos = [];
  const undo = async (): Promise<void> => {
    // What could not be taken back is in the rows, and the next operation starts from those.
    for (const step of undos.toReversed()) await step().catch(() => {});
  };
  try {
    await putRight(join);
    await addParts(join, undos);
    const endOf = flowEndOf(joinery, wire, parts);
    const wanted = { client: endOf('client'), endpoint: endOf('endpoint') };
    const leaving = await switchOver(join, wanted, undos);
    const isReplacing = leaving.length > 0;
    return { isReplacing, undo, settle: () => settle(join, leaving) };
  } catch (error) {
    await undo();
    throw error;
  }
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
async function putRight(join: Join): Promise<void> {
  const { rows, parts } = join;
  const stale: string[] = [];
  const repairs: OvsdbOperation[] = [];
  for (const part of parts) {
    const row = rows.named(part.name);
    if (row === undefined) continue;
    if (part.kind === 'port' && !isRight(join, part, row)) stale.push(part.name);
    if (part.kind === 'tunnel' && !isTunnelTo(row, part.place)) {
      repairs.push(...repairTunnel(row.uuid, part.place));
    }
  }
  await join.switch.apply([...dropPortsNamed(join, stale), ...repairs], join.budget);
}

function isRight({ rows }: Join, { end, patch }: PortPart, row: PortRow): boolean {
  if (patch !== undefined && rows.tagOf(patch.names.far) !== patch.vlanId) return false;
  const isSame = row.end?.link === end.link && row.end.wireId === end.wireId;
  return isSame && row.number !== undefined;
}

/** Adds what is missing, and waits until the switch has it. */
async function addParts(join: Join, undos: Undos): Promise<void> {
  const added: string[] = [];
  const configuration = await join.shared.hold(tunnelsOf(join), () => {
    const before = join.rows.of(join.wire.id);
    const missing = join.parts.filter(({ name }) => join.rows.named(name) === undefined);
    const numbers = join.rows.freeNumbers(missing.length);
    const usesAdded: TunnelUse[] = [];
    const operations: OvsdbOperation[] = [];
    for (const part of join.parts) {
      const isJoined = !hasEnd(before, sideOf(part));
      if (part.kind === 'tunnel') checkVni(join, part.end);
      if (missing.includes(part)) {
        // Two interfaces at most for one part.
        const position = added.length * 2;
        added.push(part.name);
        operations.push(
          ...addPart(join.at, position, { part, isJoined, number: numbers.pop() ?? 0 }),
        );
      } else if (part.kind === 'tunnel') {
        const use = { ...part.use, isJoined };
        operations.push(...addUse(join, part, use, { undos, usesAdded }));
      }
    }
    undos.push(() => takeBack(join, added, usesAdded));
    return join.switch.begin(operations, join.budget);
  });
  await join.switch.applied(configuration, join.budget);
  for (const name of added) checkOpened(join.rows, name, join.wire);
}

function addPart(
  at: BridgeAddress,
  position: number,
  one: { readonly part: WirePart; readonly isJoined: boolean; readonly number: number },
): OvsdbOperation[] {
  const { part, isJoined, number: requested } = one;
  const { name } = part;
  if (part.kind === 'tunnel') {
    const { place } = part;
    return addTunnel(at, position, { name, requested, place, use: { ...part.use, isJoined } });
  }
  const { patch } = part;
  const end = { ...part.end, isJoined };
  if (patch === undefined) return addPort(at, position, { name, requested, end });
  const far = { ...patch, wireId: end.wireId };
  return [
    ...addPort(at, position, { name, requested, end, peer: patch.names.far }),
    ...addFarEnd(at.owner, position + 1, far),
  ];
}

function addUse(
  join: Join,
  part: TunnelPart,
  use: TunnelUse,
  { undos, usesAdded }: { readonly undos: Undos; readonly usesAdded: TunnelUse[] },
): OvsdbOperation[] {
  const row = join.rows.named(part.name);
  if (row === undefined || row.uses.some((each) => isSameUse(each, use))) return [];
  const old = row.uses.find((each) => each.wireId === use.wireId && each.side === use.side);
  if (old === undefined) usesAdded.push(use);
  else undos.push(() => join.switch.begin(setUse(row.uuid, old), undoBudget));
  return setUse(row.uuid, use);
}

const isSameUse = (found: TunnelUse, wanted: TunnelUse): boolean =>
  JSON.stringify({ ...found, isJoined: true }) === JSON.stringify({ ...wanted, isJoined: true });

/** Flows of two wires with one VNI from one peer could not be told apart. */
function checkVni({ rows, owner, wire }: Join, end: VxlanEnd): void {
  const row = rows.named(tunnelName(owner, receivingTunnel(end)));
  const holder = row?.uses.find(
    (use) => use.wireId !== wire.id && use.vni === end.vni && use.localPort === end.localPort,
  );
  if (holder !== undefined) throw vniTaken(wire.id, end.vni, `held by wire ${holder.wireId}`);
}

function checkOpened(rows: SwitchRows, name: string, wire: Wire): void {
  const row = rows.named(name);
  if (row?.number !== undefined) return;
  const found = row?.error ?? 'the switch gave it no number';
  const tunnel = [wire.client, wire.endpoint].find((end) => end.kind === 'vxlan');
  if (tunnel !== undefined && row?.type === 'vxlan') throw tunnelRefused(wire.id, tunnel, found);
  throw portRefused(wire.id, name, found);
}

/** Returns what has to be done about flows when the ends that are replaced go. */
async function switchOver(
  { switch: bridge, owner, wire, budget }: Join,
  wanted: Record<Side, FlowEnd>,
  undos: Undos,
): Promise<SwitchOver['leaving']> {
  const cookie = wireCookie(owner, wire.id);
  const { client, endpoint } = wireFlows(cookie, wanted);
  const specs: readonly FlowSpec[] = [client, endpoint];
  const found = await bridge.flowsOf(cookie, budget);
  const { changes, leaving } = switchOverFlows(found, specs);
  if (changes.length === 0) return leaving;
  undos.push(() => bridge.commit(revertedFlows(found, specs), undoBudget));
  await bridge.commit(changes, budget);
  return leaving;
}

/** A tunnel made here may by now have other users. */
async function takeBack(
  join: Join,
  added: readonly string[],
  usesAdded: readonly TunnelUse[],
): Promise<void> {
  const { rows, wire } = join;
  await join.shared.hold(tunnelsOf(join), async () => {
    const isMade = ({ row, use }: WireRows['tunnels'][number]): boolean =>
      added.includes(row.name) || usesAdded.some((each) => isSameUse(use, each));
    const tunnels = rows.of(wire.id).tunnels.filter(isMade);
    const ports = added.filter((name) => rows.named(name)?.end !== undefined);
    const operations = [...leaveTunnels(join, tunnels), ...dropPortsNamed(join, ports)];
    await join.switch.begin(operations, undoBudget);
  });
}

const tunnelsOf = ({ parts }: Join): string[] =>
  parts.flatMap(({ kind, name }) => (kind === 'tunnel' ? [name] : []));

/** The new ends count from now on; what they replace goes, a tunnel with the last that used it. */
async function settle(join: Join, leaving: SwitchOver['leaving']): Promise<void> {
  const { rows, owner, wire, parts, at, budget } = join;
  await join.switch.commit(leaving, budget);
  const version = tagVersionOf(owner);
  const before = rows.of(wire.id).tunnels.map(({ row }) => row.name);
  const isWanted = (name: string, side: Side): boolean =>
    parts.some((part) => part.name === name && sideOf(part) === side);
  const configuration = await join.shared.hold([...tunnelsOf(join), ...before], () => {
    const { ports, tunnels } = rows.of(wire.id);
    const operations: OvsdbOperation[] = [];
    const gone: string[] = [];
    for (const { uuid, name, end } of ports) {
      if (end === undefined) continue;
      const part = wantedPort(parts, name, end.side);
      if (part === undefined) {
        gone.push(name);
        continue;
      }
      const { isJoined, version: tagged, vlanId } = end;
      const isAsWanted = isJoined && tagged === version && vlanId === part.end.vlanId;
      if (!isAsWanted) operations.push(...tagPort(at, uuid, { ...part.end, isJoined: true }));
    }
    const left: WireRows['tunnels'][number][] = [];
    for (const tunnel of tunnels) {
      const { row, use } = tunnel;
      if (!isWanted(row.name, use.side)) left.push(tunnel);
      else if (!use.isJoined || use.version !== version) {
        operations.push(...setUse(row.uuid, { ...use, version, isJoined: true }));
      }
    }
    operations.push(...leaveTunnels(join, left), ...dropPortsNamed(join, gone));
    return join.switch.begin(operations, budget);
  });
  await join.switch.applied(configuration, budget);
}

function wantedPort(parts: readonly WirePart[], name: string, side: Side): PortPart | undefined {
  const part = parts.find((each) => each.name === name && sideOf(each) === side);
  return part?.kind === 'port' ? part : undefined;
}

/** A tunnel goes with the last that used it. */
export function leaveTunnels(joinery: Joinery, left: WireRows['tunnels']): OvsdbOperation[] {
  const leaving = new Map<PortRow, TunnelUse[]>();
  for (const { row, use } of left) leaving.set(row, [...(leaving.get(row) ?? []), use]);
  return [...leaving].flatMap(([row, uses]) =>
    uses.length === row.uses.length
      ? dropPortsNamed(joinery, [row.name])
      : uses.flatMap((use) => dropUse(row.uuid, use)),
  );
}

/** A patch goes with its far end. */
export function dropPortsNamed({ rows }: Joinery, names: readonly string[]): OvsdbOperation[] {
  const all = names.flatMap((name) => [name, farNameOf(name) ?? name]);
  return dropPorts([...new Set(all)].flatMap((name) => rows.portId(name) ?? []));
}
