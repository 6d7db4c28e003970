// Joining the ends of one wire: their ports and tunnels, then the switch-over in one bundle, then away with what was
// before; a wire that is new gets its flows beside its ports, and needs no bundle. NSM concept: the cross connect of
// forwarder-ovs.
// Invariants: until the bundle the old way is whole; what an end replaces keeps its port until the new one is joined; a
// failure takes back what was done here and no more. The wire's lock is held.

import { addFlow, deleteFlowsByCookie } from '../../protocols/ovs/flow-builders.ts';
import type { OvsdbOperation } from '../../protocols/ovs/ovsdb-operations.ts';
import type { Joined, NodeLinks } from '../../protocols/ports/wire-ends.ts';
import { addParts, type Join, tunnelsOf, undoBudget, type Undos } from './add-parts.ts';
import { dropPortsNamed, leaveTunnels } from './drop-parts.ts';
import { repairTunnel, setUse, tagPort } from './port-operations.ts';
import { laterVersion } from './refusals.ts';
import type { PortRow, WireRows } from './switch-rows.ts';
import { type Side, tagVersionOf, wireCookie } from './tags.ts';
import type { FlowEnds, SwitchOver } from './wire-flows.ts';
import { revertedFlows, switchOverFlows, wireFlows } from './wire-flows.ts';
import { isTunnelTo } from './wire-judgement.ts';
import type { Joinery, PortPart, WirePart } from './wire-parts.ts';
import { flowEndsOf, givenNumbers, partsOf, sideOf } from './wire-parts.ts';

export async function joinWire(asked: Omit<Join, 'parts'>, links: NodeLinks): Promise<Joined> {
  checkVersion(asked, asked.wire.id);
  const join: Join = { ...asked, parts: await partsOf(asked, asked.wire, links, asked.budget) };
  const undos: Undos = [];
  const undo = async (): Promise<void> => {
    // What could not be taken back is in the rows, and the next operation starts from those.
    for (const step of undos.toReversed()) await step().catch(() => {});
  };
  try {
    await putRight(join);
    const { isWhole, leaving } = await joinParts(join, undos);
    const isReplacing = leaving.length > 0;
    return { isReplacing, undo, settle: async () => (isWhole ? undefined : settle(join, leaving)) };
  } catch (error) {
    await undo();
    throw error;
  }
}

interface JoinedParts {
  /** Nothing was there before, and everything is as it was asked for. */
  readonly isWhole: boolean;
  /** What has to be done about flows when the ends that are replaced go. */
  readonly leaving: SwitchOver['leaving'];
}

async function joinParts(join: Join, undos: Undos): Promise<JoinedParts> {
  const { rows, owner, wire, parts, making } = join;
  const { ports, tunnels } = rows.of(wire.id);
  const isNew = ports.length === 0 && tunnels.length === 0;
  try {
    const isAsTold = await addParts(join, undos, async (numberOf) => {
      if (isNew) await makeFlows(join, flowEndsOf(owner, wire, parts, numberOf), undos);
    });
    if (isNew && isAsTold) return { isWhole: true, leaving: [] };
  } finally {
    making.delete(wireCookie(owner, wire.id));
  }
  const wanted = flowEndsOf(owner, wire, parts, givenNumbers(rows, wire.id));
  return { isWhole: false, leaving: await switchOver(join, wanted, undos) };
}

/** Of a wire that has nothing yet: what an earlier life left of it goes first. */
async function makeFlows(
  { switch: bridge, owner, wire, budget, making }: Join,
  ends: FlowEnds,
  undos: Undos,
): Promise<void> {
  const cookie = wireCookie(owner, wire.id);
  making.add(cookie);
  const clear = deleteFlowsByCookie(cookie);
  undos.push(() => bridge.commit([clear], undoBudget));
  await bridge.program([clear, ...Object.values(wireFlows(cookie, ends)).map(addFlow)], budget);
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
  if (stale.length === 0 && repairs.length === 0) return;
  await join.switch.apply([...dropPortsNamed(join, stale), ...repairs], join.budget);
}

function isRight({ rows }: Join, { end, patch }: PortPart, row: PortRow): boolean {
  if (patch !== undefined && rows.tagOf(patch.names.far) !== patch.vlanId) return false;
  const isSame = row.end?.link === end.link && row.end.wireId === end.wireId;
  return isSame && row.number !== undefined;
}

async function switchOver(
  { switch: bridge, owner, wire, budget }: Join,
  wanted: FlowEnds,
  undos: Undos,
): Promise<SwitchOver['leaving']> {
  const cookie = wireCookie(owner, wire.id);
  const specs = Object.values(wireFlows(cookie, wanted));
  const found = await bridge.flowsOf(cookie, budget);
  const { changes, leaving } = switchOverFlows(found, specs);
  if (changes.length === 0) return leaving;
  undos.push(() => bridge.commit(revertedFlows(found, specs), undoBudget));
  await bridge.commit(changes, budget);
  return leaving;
}

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
