// Joining the ends of one wire: what is missing is made, then the client's end is turned to the other one by a single
// message, then what was before goes. NSM concept: the cross connect of forwarder-vpp.
// Invariants: until that message the old way is whole; a failure takes back what was done here and no more. The wire's
// lock is held.

import { asNsmError } from '../../protocols/errors.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Budget, PortRange, Wire } from '../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import type { Joined, NodeLinks } from '../../protocols/ports/wire-ends.ts';
import type { FoundEnd, Inventory } from './inventory.ts';
import { type Operations, undoBudget } from './operations.ts';
import { hostInterfaceRefused, laterVersion, vniTaken } from './refusals.ts';
import {
  type EndTag,
  type Owner,
  ownInstances,
  type Side,
  sides,
  tagVersionOf,
  fewInstanceCount,
  fewInstances,
} from './tags.ts';
import type { PathOf } from './memif-socket.ts';
import type { Routing } from './routing.ts';
import { type MadeEnd, switchOver } from './switch-over.ts';
import type { Trunk, Trunks } from './trunks.ts';
import type { OuterPorts, Uplink } from './uplink.ts';
import type { VlanSwitch } from './vlan-networks.ts';
import type { WireFilter } from './wire-filter.ts';
import { ensurePeer } from './wireguard-peers.ts';
import { ensureProfile, type Ike } from './ike-profiles.ts';
import {
  fits,
  type HostPart,
  type IpsecPart,
  isSameKey,
  isUntagged,
  partsOf,
  type TunnelPart,
  type VlanPart,
  type WireguardPart,
  type WirePart,
} from './wire-parts.ts';

/** What the operations on wires work with. */
export interface Joinery {
  readonly owner: Owner;
  readonly inventory: Inventory;
  readonly operations: Operations;
  readonly routing: Routing;
  readonly vpp: Vpp;
  readonly clock: Clock;
  readonly uplink: Uplink;
  readonly filter: WireFilter;
  readonly wireguardPorts: PortRange;
  /** Absent: no IPsec tunnel is made. */
  readonly ike: Ike | undefined;
  readonly trunks: Trunks;
  readonly vlans: VlanSwitch;
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
  const vlans = await joinery.vlans.placesOf(wire, budget);
  const parts = partsOf(joinery, wire, { links, vlans });
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
    const ends = new Map<Side, MadeEnd>();
    for (const outcome of await Promise.allSettled(parts.map((part) => ensurePart(join, part)))) {
      if (outcome.status === 'rejected') throw outcome.reason;
      ends.set(outcome.value.part.tag.side, outcome.value);
    }
    const [client, endpoint] = [ends.get('client'), ends.get('endpoint')];
    if (client !== undefined && endpoint !== undefined) {
      await switchOver(join, { client, endpoint });
    }
    const kept = [...ends.values()].map(({ end }) => end);
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

async function ensurePart(join: Join, part: WirePart): Promise<MadeEnd> {
  const { inventory, operations, owner, budget, undos } = join;
  for (const outer of outerPortsOf(join, part)) await join.uplink.admit(outer, budget);
  const fitting = () =>
    [...inventory.of(join.wireId), ...inventory.untagged()].find((each) => fits(owner, part, each));
  const trunk = part.kind === 'host' ? await trunkFor(join, part, fitting()) : undefined;
  const found = fitting();
  if (found !== undefined) {
    await operations.complete(found, tagOn(part, trunk), budget);
    return { part, end: await completed(join, part, found), isNew: false, trunk };
  }
  await makeWay(join, part, trunk);
  // What is shared goes after the end itself.
  if (part.kind === 'vlan') undos.push(() => join.vlans.release(undoBudget));
  const made = await make(join, part, trunk);
  undos.push(() => operations.drop(made, undoBudget));
  return { part, end: await completed(join, part, made), isNew: true, trunk };
}

/** With what can still be changed once it is made. */
async function completed(join: Join, part: WirePart, end: FoundEnd): Promise<FoundEnd> {
  if (part.tag.side === 'client') await join.filter.attach(end.index, join.budget);
  if (part.kind === 'vlan') await join.vlans.connect(end, part.place, join.budget);
  if (part.kind === 'wireguard') return ensurePeer(join, part, end);
  return part.kind === 'ipsec' ? ensureProfile(join, part, end) : end;
}

/** Of IKEv2 itself (RFC 7296). */
const ikePort = 500;

/** Where the other node's packets come in. Tunnels of WireGuard have many ports, which are let in at once. */
function outerPortsOf({ wireguardPorts: all }: Join, part: WirePart): readonly OuterPorts[] {
  const place = outerPlaceOf(part);
  if (place === undefined) return [];
  const { localIp, localPort: port } = place;
  const isOneOfAll = part.kind === 'wireguard' && port >= all.first && port <= all.last;
  const ports = isOneOfAll ? all : { first: port, last: port };
  const ike = { localIp, ports: { first: ikePort, last: ikePort } };
  return [{ localIp, ports }, ...(part.kind === 'ipsec' ? [ike] : [])];
}

function outerPlaceOf(part: WirePart) {
  if (part.kind === 'tunnel') return part.place;
  return part.kind === 'wireguard' || part.kind === 'ipsec' ? part.end : undefined;
}

/** What is right stays: an interface of its own, and the trunk of a branch, which may have larger frames than are needed now. */
async function trunkFor(
  { trunks, budget }: Join,
  { link, isRouted }: HostPart,
  found: FoundEnd | undefined,
): Promise<Trunk | undefined> {
  if (found?.hostLink !== undefined || isRouted) return undefined;
  return trunks.for(link, budget, found?.tag?.frames);
}

const tagOn = ({ tag }: WirePart, trunk: Trunk | undefined): EndTag =>
  trunk === undefined ? tag : { ...tag, frames: trunk.frames };

/**
 * A host interface over a link that was made anew since is of no use, and holds the name. Two tunnels that differ in
 * nothing but the other node's port cannot stand side by side.
 */
async function makeWay(join: Join, part: WirePart, trunk: Trunk | undefined): Promise<void> {
  const { inventory, operations, budget, undos, wireId } = join;
  for (const end of inventory.untagged()) {
    if (isUntagged(join.owner, end, part.tag)) await operations.drop(end, budget);
  }
  if (part.kind === 'host' && trunk === undefined) {
    const inTheWay = inventory.all().find(({ hostLink }) => hostLink === part.link.name);
    if (inTheWay !== undefined) await operations.drop(inTheWay, budget);
  }
  if (part.kind !== 'tunnel') return;
  for (const end of inventory.of(wireId)) {
    const { tunnel, tag } = end;
    if (tunnel === undefined || tag === undefined || !isSameKey(tunnel, part.place)) continue;
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

async function make(join: Join, part: WirePart, trunk: Trunk | undefined): Promise<FoundEnd> {
  const { operations, budget, wireId } = join;
  const place = outerPlaceOf(part);
  if (place !== undefined) await join.uplink.introduce(place, budget);
  if (part.kind === 'tunnel') return makeTunnel(join, part);
  if (part.kind === 'memif') return operations.makeMemif(part, budget);
  if (part.kind === 'wireguard' || part.kind === 'ipsec' || part.kind === 'vlan') {
    return makeNumbered(join, part);
  }
  if (trunk !== undefined) {
    const tag = tagOn(part, trunk);
    const taken = ({ branch }: FoundEnd) =>
      branch?.trunk === trunk.index ? branch.subId : undefined;
    return operations.makeBranch(trunk, { instance: freeInstance(join, tag, taken), tag }, budget);
  }
  try {
    return await operations.makeHost(part.link, part.tag, budget);
  } catch (error) {
    throw hostInterfaceRefused(wireId, part.link.name, error);
  }
}

async function makeTunnel(join: Join, part: TunnelPart): Promise<FoundEnd> {
  const { operations, inventory, budget, wireId } = join;
  const { place, tag } = part;
  const instance = freeInstance(join, tag, ({ tunnel }) => tunnel?.instance);
  try {
    return await operations.makeTunnel(place, { instance, tag }, budget);
  } catch (error) {
    const { rule = '' } = asNsmError(error).details;
    if (!rule.startsWith('TUNNEL_EXIST')) throw error;
    const holder = inventory.all().find(({ tunnel }) => tunnel && isSameKey(tunnel, part.place));
    const found =
      holder?.tag === undefined ? "somebody else's tunnel" : `wire ${holder.tag.wireId}`;
    throw vniTaken(wireId, part.end, `held by ${found}`);
  }
}

/** What has one of a few numbers. */
async function makeNumbered(
  join: Join,
  part: WireguardPart | IpsecPart | VlanPart,
): Promise<FoundEnd> {
  const { operations, inventory, owner, budget, wireId } = join;
  const kind = part.kind === 'vlan' ? 'pipe' : part.kind;
  const taken = new Set(inventory.all().map((end) => end[kind]?.instance));
  const own = fewInstances(owner, wireId, part.tag.side);
  const all = Array.from({ length: fewInstanceCount }, (_, number) => number);
  const instance = [...own, ...all].find((each) => !taken.has(each)) ?? 0;
  if (part.kind === 'vlan') return operations.makePipe({ instance, tag: part.tag }, budget);
  return part.kind === 'ipsec'
    ? operations.makeIpsec(part, instance, budget)
    : operations.makeWireguard(part, instance, budget);
}

/** All ones lets VPP choose: never taken here. */
function freeInstance(
  { inventory, owner }: Join,
  { wireId, side }: EndTag,
  instanceOf: (end: FoundEnd) => number | undefined,
): number {
  const isFree = (instance: number) => !inventory.some((end) => instanceOf(end) === instance);
  return ownInstances(owner, wireId, side).find(isFree) ?? 0;
}

/** What the ends replace goes, and tags of an earlier version are written anew. */
async function settle(
  join: Join,
  parts: readonly WirePart[],
  ends: readonly FoundEnd[],
): Promise<void> {
  const { inventory, operations, routing, trunks, vlans, budget } = join;
  const left = replacedBy(join, ends);
  const hosts = new Set(ends.flatMap(({ hostLink, tag }) => (hostLink && tag ? [tag.link] : [])));
  const ledAway = left.flatMap(({ branch }) =>
    branch && hosts.has(branch.link) ? [branch.link] : [],
  );
  const stale = ends.flatMap(({ index }) => {
    const end = inventory.at(index);
    const part = parts.find(({ tag }) => tag.side === end?.tag?.side);
    if (end?.tag === undefined || part === undefined) return [];
    return end.tag.version === part.tag.version
      ? []
      : [{ end, tag: { ...part.tag, frames: end.tag.frames } }];
  });
  const onceRouted = ends
    .map(({ index }) => index)
    .filter((at) => inventory.switchedTo(at) !== undefined && inventory.routedTo(at) !== undefined);
  await Promise.all([
    ...stale.map(({ end, tag }) => operations.retag(end, tag, budget)),
    ...onceRouted.map((index) => routing.lead(index, undefined, budget)),
    ...left.map((end) => operations.drop(end, budget)),
    ...ledAway.map((link) => trunks.detach(link, budget)),
  ]);
  if (left.some(({ pipe }) => pipe)) await vlans.release(budget);
}

function replacedBy({ inventory, owner, wireId }: Join, ends: readonly FoundEnd[]): FoundEnd[] {
  const kept = new Set(ends.map(({ index }) => index));
  return endsOfWire(inventory, owner, wireId).filter(({ index }) => !kept.has(index));
}

/** Also what a process that was killed has not tagged yet. */
export function endsOfWire(inventory: Inventory, owner: Owner, wireId: string): FoundEnd[] {
  const untagged = inventory
    .untagged()
    .filter((end) => sides.some((side) => isUntagged(owner, end, { wireId, side })));
  return [...inventory.of(wireId), ...untagged];
}
