// What `list` says about the links found under the owner's tags: one line per wire, and whether it is whole.

import type { NodeLinks, ObservedEnds } from '../../protocols/ports/wire-ends.ts';
import { type JointLink, type JointState, readJoints } from './joints.ts';
import { missingOf, type SeenEnd } from './missing.ts';
import type { Inventory, LookContext, OwnedLink } from './observe.ts';
import { vxlanEndOf } from './observe.ts';
import { isNameOf } from './owner.ts';
import type { Side } from './wire-state.ts';

export interface Describing extends LookContext {
  readonly isJoinedOutside: boolean;
  /** Indexes of tunnels for which the filter of outer sources lacks something. */
  readonly unfiltered: ReadonlySet<number>;
}

/** The wires of the inventory with these ids; all of them by default. */
export async function describeObserved(
  describing: Describing,
  inventory: Inventory,
  ids: readonly string[] = [...inventory.byWire.keys()],
): Promise<ObservedEnds[]> {
  const { netlink, wireguardFamily, budget } = describing;
  const wires = ids.map((id) => [id, inventory.byWire.get(id) ?? []] as const);
  const ends = wires.flatMap(([, owned]) => owned.filter(({ tag }) => tag.role !== 'bridge'));
  const joined = describing.isJoinedOutside ? [] : ends;
  const joints = await readJoints(
    netlink,
    joined.map((each) => jointLinkOf(each, wireguardFamily)),
    budget,
  );
  return wires.map(([id, owned]) => {
    const missing = judge(describing, owned, joints);
    return {
      id,
      version: Math.min(...owned.map(({ tag }) => tag.version)),
      complete: missing.length === 0,
      missing,
      readable: true,
      objects: owned.map(({ link }) => link.name),
      links: linksOfTags(owned),
    };
  });
}

/** The first of each side, as it is judged. */
function linksOfTags(owned: readonly OwnedLink[]): NodeLinks {
  const links = owned.map(
    ({ link: { name, index, mtu }, tag }) => [tag.role, { name, index, mtu }] as const,
  );
  return Object.fromEntries(links.toReversed());
}

/** What a later version of vwire made; nothing more can be said about it. */
export function describeUnreadable({ unreadable }: Inventory): ObservedEnds[] {
  return [...unreadable].map(([id, owned]) => ({
    id,
    version: Math.max(...owned.map(({ tag }) => tag.version)),
    complete: false,
    missing: ['a later version of vwire made it'],
    readable: false,
    objects: owned.map(({ link }) => link.name),
    links: linksOfTags(owned),
  }));
}

function jointLinkOf({ link, tag }: OwnedLink, wireguardFamily: number | undefined): JointLink {
  const { index } = link;
  if (link.kind === 'wireguard') return { index, wireguard: { family: wireguardFamily } };
  return link.vxlan === undefined ? { index } : { index, tunnel: vxlanEndOf(link, tag) };
}

/** One link per side, as it was made, marked as made, up, and joined both ways. */
function judge(
  { marks, unfiltered, isJoinedOutside }: Describing,
  owned: readonly OwnedLink[],
  joints: ReadonlyMap<number, JointState>,
): string[] {
  const of = (role: Side) => owned.filter(({ tag }) => tag.role === role);
  const seen = (role: Side, found: OwnedLink | undefined): SeenEnd | undefined => {
    if (found === undefined) return undefined;
    const { link, tag, lostTag = false } = found;
    return {
      name: link.name,
      link,
      hasTag: !lostTag,
      hasName: isNameOf(marks, role, link.name),
      isDone: tag.isDone,
      joint: joints.get(link.index) ?? {},
      isFiltered: !unfiltered.has(link.index),
    };
  };
  const [client, ...oldClients] = of('client');
  const [endpoint, ...oldEndpoints] = of('endpoint');
  const bridge = owned.find(({ tag }) => tag.role === 'bridge')?.link;
  const seenClient = seen('client', client);
  const seenEndpoint = seen('endpoint', endpoint);
  return missingOf({
    ...(seenClient === undefined ? {} : { client: seenClient }),
    ...(seenEndpoint === undefined ? {} : { endpoint: seenEndpoint }),
    ...(bridge === undefined ? {} : { bridge }),
    isJoinedOutside,
    leftOver: [...oldClients, ...oldEndpoints].map(({ link }) => link.name),
  });
}
