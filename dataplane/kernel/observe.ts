// Looking at what this owner has in the kernel: links by their tags, and one wire's ends in detail.
// Invariants: only links with this owner's tag, those known to have lost it, and (half made by a crash) those without
// any tag but with its name and group are reported; programs run one at a time, so a link of ours that nobody knows
// and that has no tag can only be left over.

import {
  dumpAddresses,
  dumpRoutes,
  parseAddress,
  parseRoute,
} from '../../protocols/netlink/address.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import type { Link } from '../../protocols/netlink/link.ts';
import { dumpLinks, getLink, parseLink } from '../../protocols/netlink/link.ts';
import { getNamespaceId, parseNamespaceId } from '../../protocols/netlink/namespace-id.ts';
import type {
  Budget,
  VxlanEnd,
  Wire,
  WireEnd,
  WireguardEnd,
} from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkAnswer, NetlinkStep } from '../../protocols/ports/netlink.ts';
import type { OwnerMarks, Tag } from './owner.ts';
import { generationOf, linkName, parseOthersTag, parseTag } from './owner.ts';
import { run } from './run.ts';
import type { CurrentWire, EndState, Side } from './wire-state.ts';
import { nothingConfigured, sides } from './wire-state.ts';
import { tunnelEndOf, tunnelIn, tunnelReading } from './wireguard-tunnel.ts';

export interface OwnedLink {
  readonly link: Link;
  readonly tag: Tag;
  /** Set where somebody took the tag off or wrote another text. */
  readonly lostTag?: true;
  /** Set where the tag is still that of the forwarder that the wire went through before. */
  readonly isTakenOver?: true;
}

/** A link of another forwarder of this installation. */
export interface OthersLink {
  readonly link: Link;
  readonly forwarder: string;
  readonly tag: Tag;
}

export interface Inventory {
  readonly byWire: ReadonlyMap<string, readonly OwnedLink[]>;
  /** Of this owner, with a tag of a later version: never touched. */
  readonly unreadable: ReadonlyMap<string, readonly OwnedLink[]>;
  /** Left untagged by a crash between creation and tagging. */
  readonly halfMade: readonly Link[];
  readonly others: readonly OthersLink[];
  /** Every other name in use in the node's namespace, with the wire of ours that has it. */
  readonly names: ReadonlyMap<string, string | undefined>;
}

/** With what the kernel is looked at. */
export interface LookContext {
  readonly netlink: Netlink;
  readonly marks: OwnerMarks;
  /** Number of the generic netlink family; undefined where this kernel has none. */
  readonly wireguardFamily: number | undefined;
  readonly budget: Budget;
}

/** The tag that the link with this index is known to have had. */
export type KnownTags = (index: number) => Tag | undefined;

export async function takeInventory(
  netlink: Netlink,
  marks: OwnerMarks,
  known: KnownTags,
  budget: Budget,
): Promise<Inventory> {
  const request = { message: dumpLinks(), what: 'list the links of the node' };
  const answers = await run(netlink, [{ protocol: 'route', requests: [request] }], budget);
  const byWire = new Map<string, OwnedLink[]>();
  const unreadable = new Map<string, OwnedLink[]>();
  const halfMade: Link[] = [];
  const others: OthersLink[] = [];
  const names = new Map<string, string | undefined>();
  for (const message of answers[0]?.[0]?.messages ?? []) {
    const link = parseLink(message);
    if (link === undefined) continue;
    const owned = ownedLink(marks, known, link);
    if (owned === undefined && isHalfMade(marks, link)) {
      halfMade.push(link);
      continue;
    }
    names.set(link.name, owned?.tag.wireId);
    if (owned === undefined) {
      const theirs = parseOthersTag(marks.owner, link.alias);
      if (theirs !== undefined) others.push({ link, ...theirs });
      continue;
    }
    const { version, wireId } = owned.tag;
    const wires = version > marks.tagVersion ? unreadable : byWire;
    wires.set(wireId, [...(wires.get(wireId) ?? []), owned]);
  }
  return { byWire, unreadable, halfMade, others, names };
}

function ownedLink(marks: OwnerMarks, known: KnownTags, link: Link): OwnedLink | undefined {
  const tag = parseTag(marks.owner, link.alias);
  if (tag !== undefined) return { link, tag };
  // Not lost, but taken over.
  if (parseOthersTag(marks.owner, link.alias) !== undefined) return undefined;
  const lost = known(link.index);
  return lost === undefined ? undefined : { link, tag: lost, lostTag: true };
}

function isHalfMade(marks: OwnerMarks, link: Link): boolean {
  return link.alias === '' && link.group === marks.group && link.name.startsWith(marks.namePrefix);
}

/** What of the wanted wire is there, `left` by another forwarder included. */
export async function observeWire(
  context: LookContext,
  wire: Wire,
  { inventory, left }: { readonly inventory: Inventory; readonly left: readonly OwnedLink[] },
): Promise<CurrentWire> {
  const { marks } = context;
  const own = inventory.byWire.get(wire.id) ?? [];
  const owned = [...own, ...left];
  const states: EndState[] = [];
  const kept: { client?: EndState; endpoint?: EndState } = {};
  for (const side of sides) {
    for (const candidate of owned.filter(({ tag }) => tag.role === side)) {
      const found = await inspectEnd(context, wire, candidate, side);
      if (found.isRight && kept[side] === undefined) kept[side] = found.state;
      else states.push(found.state);
    }
  }
  const bridge = own.find(({ tag }) => tag.role === 'bridge');
  const { name = '', index = 0 } = bridge?.link ?? {};
  const leftOver = left.filter(({ tag }) => tag.role === 'bridge').map(({ link }) => link.index);
  return {
    ...kept,
    ...(bridge === undefined ? {} : { bridge: { name, index, tag: bridge.tag } }),
    replaced: states,
    ...(left.length === 0 ? {} : { leftOver }),
    attempt: freeAttempt(marks, wire.id, inventory),
  };
}

/** A wire's link as a state, when nothing more is known than the link itself. */
export function bareState(marks: OwnerMarks, side: Side, owned: OwnedLink): EndState {
  const { link, tag, lostTag, isTakenOver } = owned;
  const { alias, group, master } = link;
  return {
    ...(lostTag === undefined ? {} : { lostTag }),
    ...(isTakenOver === undefined ? {} : { taken: { alias, group, master } }),
    side,
    generation: generationOf(marks, side, link.name),
    name: link.name,
    index: link.index,
    tag,
    mtu: link.mtu,
    isSettled: link.isUp && link.group === marks.group,
    ...(link.vxlan === undefined ? {} : { end: vxlanEndOf(link, tag) }),
    configuration: nothingConfigured,
  };
}

/** The VXLAN end that a device was made for. */
export function vxlanEndOf(link: Link, tag: Tag): VxlanEnd {
  const { vni = 0, port = 0, local = '' } = link.vxlan ?? {};
  return {
    kind: 'vxlan',
    localIp: local,
    remoteIp: tag.remoteIp ?? '',
    localPort: port,
    remotePort: tag.remotePort ?? port,
    vni,
  };
}

/** The first way of naming this wire's links that clashes with nobody else's. */
function freeAttempt(marks: OwnerMarks, wireId: string, inventory: Inventory): number {
  const { names } = inventory;
  const isOthers = (name: string) => names.has(name) && names.get(name) !== wireId;
  for (let attempt = 0; attempt < 16; attempt++) {
    const roles = ['client', 'endpoint', 'bridge'] as const;
    const names = roles.flatMap((role) =>
      [0, 1].map((generation) => linkName(marks, wireId, { role, generation, attempt })),
    );
    if (!names.some(isOthers)) return attempt;
  }
  return 0;
}

/** Whether the link is the wanted end of that side already, or can become it as it stands. */
export async function isRightEnd(
  context: LookContext,
  wire: Wire,
  owned: OwnedLink,
): Promise<boolean> {
  const { role } = owned.tag;
  return role !== 'bridge' && (await inspectEnd(context, wire, owned, role)).isRight;
}

async function inspectEnd(
  context: LookContext,
  wire: Wire,
  owned: OwnedLink,
  side: Side,
): Promise<{ readonly state: EndState; readonly isRight: boolean }> {
  const end = wire[side];
  const state = bareState(context.marks, side, owned);
  if (end.kind === 'vxlan') return { state, isRight: isSameDevice(owned.link, end) };
  if (end.kind === 'wireguard') return inspectTunnel(context, end, state, owned);
  if (end.kind !== 'kernel' || owned.link.kind !== 'veth') return { state, isRight: false };
  const peer = await inspectPeer(context, end.netns, owned.link);
  if (peer === undefined) return { state, isRight: false };
  return { state: { ...state, end, ...peer }, isRight: true };
}

/** One that listens on the wanted port; whatever else it is to have is set. */
async function inspectTunnel(
  { netlink, wireguardFamily, budget }: LookContext,
  end: WireguardEnd,
  state: EndState,
  { link, tag }: OwnedLink,
): Promise<{ readonly state: EndState; readonly isRight: boolean }> {
  if (link.kind !== 'wireguard' || wireguardFamily === undefined) return { state, isRight: false };
  const [answers] = await run(netlink, [tunnelReading(wireguardFamily, link.index)], budget);
  const found = tunnelIn(answers);
  if (found?.listenPort !== end.localPort) return { state, isRight: false };
  return { state: { ...state, end: tunnelEndOf(found, end, tag) }, isRight: true };
}

function isSameDevice(link: Link, end: WireEnd & { readonly kind: 'vxlan' }): boolean {
  const { vxlan } = link;
  if (vxlan === undefined) return false;
  return vxlan.vni === end.vni && vxlan.port === end.localPort && vxlan.local === end.localIp;
}

/** The workload's side of a veth, if it is in the wanted namespace. */
async function inspectPeer(
  context: Pick<LookContext, 'netlink' | 'budget'>,
  namespace: string,
  link: Link,
): Promise<Pick<EndState, 'peerIndex' | 'isRouted' | 'configuration'> | undefined> {
  const descriptor = { namespaceDescriptor: namespace };
  const index = link.linkIndex;
  const tolerate = [errno.noDevice];
  const program: NetlinkStep[] = [
    {
      protocol: 'route',
      requests: [{ message: getNamespaceId(descriptor), what: `find the id of ${namespace}` }],
    },
    {
      namespace,
      protocol: 'route',
      requests: [
        { message: getLink(index), what: `read the peer of ${link.name}`, tolerate },
        { message: dumpAddresses(index), what: `list the addresses in ${namespace}`, tolerate },
        { message: dumpRoutes(index), what: `list the routes in ${namespace}`, tolerate },
      ],
    },
  ];
  const answers = await run(context.netlink, program, context.budget);
  const [[id] = [], [peer, addresses, routes] = []] = answers;
  if (parseNamespaceId(id?.messages[0]) !== link.linkNamespaceId) return undefined;
  const message = peer?.messages[0];
  const found = message === undefined ? undefined : parseLink(message);
  if (found?.kind !== 'veth' || found.linkIndex !== link.index) return undefined;
  return {
    peerIndex: found.index,
    isRouted: !found.asksNeighbors,
    configuration: {
      addresses: foundPrefixes(addresses, found.index, parseAddress),
      routes: foundPrefixes(routes, found.index, parseRoute).map((prefix) => ({ prefix })),
      neighbors: [],
    },
  };
}

function foundPrefixes(
  answer: NetlinkAnswer | undefined,
  index: number,
  parse: typeof parseAddress,
): string[] {
  return (answer?.messages ?? []).flatMap((message) => {
    const found = parse(message);
    return found?.isOurs === true && found.index === index ? [found.prefix] : [];
  });
}
