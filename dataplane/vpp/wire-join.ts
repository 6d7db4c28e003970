// Joining the ends of one wire: what is missing is made, then the client's end is turned to the other one by a single
// message, then what was before goes. NSM concept: the cross connect of forwarder-vpp.
// Invariants: until that message the old way is whole; a failure takes back what was done here and no more. The wire's
// lock is held.

import { asNsmError } from '../../protocols/errors.ts';
import type { Budget, Wire } from '../../protocols/ports/dataplane.ts';
import type { Joined, NodeLinks } from '../../protocols/ports/wire-ends.ts';
import type { FoundEnd, Inventory } from './inventory.ts';
import { type Operations, undoBudget } from './operations.ts';
import { hostInterfaceRefused, laterVersion, vniTaken } from './refusals.ts';
import { type Owner, type Side, sides, tagVersionOf, tunnelInstances } from './tags.ts';
import type { PathOf } from './memif-socket.ts';
import type { Uplink } from './uplink.ts';
import {
  fits,
  isSameKey,
  isUntagged,
  partsOf,
  type TunnelPart,
  type WirePart,
} from './wire-parts.ts';

/** What the operations on wires work with. */
export interface Joinery {
  readonly owner: Owner;
  readonly inventory: Inventory;
  readonly operations: Operations;
  readonly uplink: Uplink;
  /** Of namespaces and sockets of workloads. */
  readonly pathOf: PathOf;
}

type Undos = (() => Promise<unknown>)[];

interface Join extends Joinery {
  readonly wireId: string;
  readonly budget: Budget;
  readonly undos: Undos;
}

export async function joinWire(
  joinery: Joinery,
  wire: Wire,
  links: NodeLinks,
  budget: Budget,
): Promise<Joined> {
  const { inventory } = joinery;
  const parts = partsOf(joinery, wire, links);
  await inventory.ready(budget);
  await inventory.lookAt(wire.id, budget);
  checkVersion(joinery, wire.id);
  const undos: Undos = [];
  const { life } = inventory;
  const undo = async (): Promise<void> => {
    // A VPP that was lost meanwhile has nothing to take back. What could not be taken back carries the wire's tag, and the
    // next operation starts from that.
    if (inventory.life !== life) return;
    for (const step of undos.toReversed()) await step().catch(() => {});
  };
  const join: Join = { ...joinery, wireId: wire.id, budget, undos };
  try {
    const ends = new Map<Side, FoundEnd>();
    for (const outcome of await Promise.allSettled(parts.map((part) => ensurePart(join, part)))) {
      if (outcome.status === 'rejected') throw outcome.reason;
      ends.set(outcome.value.part.tag.side, outcome.value.end);
    }
    const [client, endpoint] = [ends.get('client'), ends.get('endpoint')];
    if (client !== undefined && endpoint !== undefined) await switchOver(join, client, endpoint);
    const kept = [...ends.values()];
    const isReplacing = replacedBy(join, kept).length > 0;
    return { isReplacing, undo, settle: () => settle(join, parts, kept) };
  } catch (error) {
    await undo();
    throw error;
  }
}

function checkVersion({ inventory, owner }: Joinery, wireId: string): void {
  const readable = tagVersionOf(owner);
  const later = versionsOf(inventory.of(wireId)).find((version) => version > readable);
  if (later !== undefined) throw laterVersion(wireId, later, readable);
}

export const versionsOf = (ends: readonly FoundEnd[]): number[] =>
  ends.flatMap(({ tag }) => tag?.version ?? []);

async function ensurePart(
  join: Join,
  part: WirePart,
): Promise<{ readonly part: WirePart; readonly end: FoundEnd }> {
  const { inventory, operations, owner, budget, undos } = join;
  if (part.kind === 'tunnel') await join.uplink.admit(part.place, budget);
  const found = inventory.all().find((each) => fits(owner, part, each));
  if (found !== undefined) {
    const { tag } = found;
    if (tag === undefined) await operations.retag(found, part.tag, budget);
    if (!found.isUp) await operations.setUp(found, budget);
    return { part, end: found };
  }
  await makeWay(join, part);
  const made = await make(join, part);
  undos.push(() => operations.drop(made, undoBudget));
  return { part, end: made };
}

/**
 * A host interface over a link that was made anew since is of no use, and holds the name. Two tunnels that differ in
 * nothing but the other node's port cannot stand side by side.
 */
async function makeWay(join: Join, part: WirePart): Promise<void> {
  const { inventory, operations, budget, undos, wireId } = join;
  for (const end of inventory.all()) {
    const { tunnel, tag } = end;
    if (part.kind === 'host') {
      if (end.hostLink === part.link.name) await operations.drop(end, budget);
      continue;
    }
    if (part.kind === 'memif') {
      if (isUntagged(join.owner, end, part.tag)) await operations.drop(end, budget);
      continue;
    }
    if (tunnel === undefined || !isSameKey(tunnel, part.place)) continue;
    if (isUntagged(join.owner, end, part.tag)) await operations.drop(end, budget);
    if (tag === undefined || tag.wireId !== wireId) continue;
    const joint = inventory.jointOf(end.index);
    const before = inventory.all().filter(({ index }) => inventory.jointOf(index) === end.index);
    await operations.drop(end, budget);
    undos.push(async () => {
      const { instance } = tunnel;
      const again = await operations.makeTunnel(tunnel, { instance, tag }, undoBudget);
      await operations.joinTo(again.index, joint, undoBudget);
      for (const { index } of before) await operations.joinTo(index, again.index, undoBudget);
    });
  }
}

async function make(join: Join, part: WirePart): Promise<FoundEnd> {
  const { operations, budget, wireId } = join;
  if (part.kind === 'tunnel') return makeTunnel(join, part);
  if (part.kind === 'memif') return operations.makeMemif(part, budget);
  try {
    return await operations.makeHost(part.link, part.tag, budget);
  } catch (error) {
    throw hostInterfaceRefused(wireId, part.link.name, error);
  }
}

async function makeTunnel(join: Join, part: TunnelPart): Promise<FoundEnd> {
  const { operations, inventory, owner, budget, wireId } = join;
  const { side } = part.tag;
  const taken = new Set(inventory.all().map(({ tunnel }) => tunnel?.instance));
  const instance = tunnelInstances(owner, wireId, side).find((each) => !taken.has(each));
  try {
    return await operations.makeTunnel(
      part.place,
      { instance: instance ?? 0, tag: part.tag },
      budget,
    );
  } catch (error) {
    const { rule = '' } = asNsmError(error).details;
    if (!rule.startsWith('TUNNEL_EXIST')) throw error;
    const holder = inventory.all().find(({ tunnel }) => tunnel && isSameKey(tunnel, part.place));
    const found =
      holder?.tag === undefined ? "somebody else's tunnel" : `wire ${holder.tag.wireId}`;
    throw vniTaken(wireId, part.end, `held by ${found}`);
  }
}

/** First the way back, then the client's frames: at that message they change over. */
async function switchOver(join: Join, client: FoundEnd, endpoint: FoundEnd): Promise<void> {
  const { inventory, operations, budget, undos } = join;
  const [clientBefore, endpointBefore] = [
    inventory.jointOf(client.index),
    inventory.jointOf(endpoint.index),
  ];
  undos.push(async () => {
    // The new end may be gone by then, with its own cross connect.
    await operations.joinTo(client.index, clientBefore, undoBudget);
    await operations.joinTo(endpoint.index, endpointBefore, undoBudget);
  });
  await Promise.all([
    operations.joinTo(endpoint.index, client.index, budget),
    operations.joinTo(client.index, endpoint.index, budget),
  ]);
}

/** What the ends replace goes, and tags of an earlier version are written anew. */
async function settle(
  join: Join,
  parts: readonly WirePart[],
  ends: readonly FoundEnd[],
): Promise<void> {
  const { inventory, operations, budget } = join;
  const stale = ends.flatMap(({ index }) => {
    const end = inventory.at(index);
    const part = parts.find(({ tag }) => tag.side === end?.tag?.side);
    if (end?.tag === undefined || part === undefined) return [];
    return end.tag.version === part.tag.version
      ? []
      : [{ end, tag: { ...part.tag, frames: end.tag.frames } }];
  });
  await Promise.all([
    ...stale.map(({ end, tag }) => operations.retag(end, tag, budget)),
    ...replacedBy(join, ends).map((end) => operations.drop(end, budget)),
  ]);
}

function replacedBy({ inventory, owner, wireId }: Join, ends: readonly FoundEnd[]): FoundEnd[] {
  const kept = new Set(ends.map(({ index }) => index));
  return endsOfWire(inventory, owner, wireId).filter(({ index }) => !kept.has(index));
}

/** Also what a process that was killed has not tagged yet. */
export function endsOfWire(inventory: Inventory, owner: Owner, wireId: string): FoundEnd[] {
  const untagged = inventory
    .all()
    .filter(({ text }) => text === '')
    .filter((end) => sides.some((side) => isUntagged(owner, end, { wireId, side })));
  return [...inventory.of(wireId), ...untagged];
}
