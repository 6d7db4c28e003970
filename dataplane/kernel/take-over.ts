// What another forwarder of this installation has left of a wire that goes through this one from now on: its links become
// this wire's, so that the client keeps its interface and the traffic its way.
// Invariants: only what ends in the very namespaces that the wire asks for is touched, whatever the path of a Request says;
// links that the kernel itself does not join are made anew, since nobody here knows whose switch has them.

import { errno } from '../../protocols/netlink/errno.ts';
import { getLink, parseLink } from '../../protocols/netlink/link.ts';
import type { Wire, WireEnd } from '../../protocols/ports/dataplane.ts';
import { createFilterUse } from './filter-use.ts';
import { readJoints } from './joints.ts';
import type { Inventory, LookContext, OwnedLink } from './observe.ts';
import { isRightEnd, takeInventory } from './observe.ts';
import { marksOf, type OwnerMarks, parseOthersTag } from './owner.ts';
import type { PolicyUse } from './policy-use.ts';
import { run } from './run.ts';
import type { CurrentWire, EndState } from './wire-state.ts';

/** What the other forwarder has under the tag of that wire; nothing where nobody is replaced. */
export function linksLeftFor(marks: OwnerMarks, wire: Wire, { others }: Inventory): OwnedLink[] {
  const { replaces } = wire;
  if (replaces === undefined) return [];
  return others.flatMap(({ link, forwarder, tag }) => {
    const isWires = forwarder === replaces.forwarder && tag.wireId === replaces.id;
    return isWires && tag.version <= marks.tagVersion ? [{ link, tag, isTakenOver: true }] : [];
  });
}

/**
 * Whether the links were made for the client of the wire: each interface of a client is in the namespace that is asked for,
 * each tunnel towards one leads to the same node, and one interface at least is where it belongs.
 */
export async function isOfSameClient(
  context: LookContext,
  wire: Wire,
  links: readonly OwnedLink[],
): Promise<boolean> {
  // What an interrupted taking over has left holds nothing of anybody any more.
  if (links.every(({ link, tag }) => link.kind !== 'veth' && tag.role !== 'client')) return true;
  let rightOnes = 0;
  for (const owned of links) {
    const { role, remoteIp } = owned.tag;
    if (owned.link.kind === 'veth' && (await isRightEnd(context, wire, owned))) rightOnes += 1;
    else if (role !== 'client') continue;
    else if (!isTunnelTo(wire.client, remoteIp)) return false;
  }
  return rightOnes > 0;
}

const isTunnelTo = (end: WireEnd, remoteIp: string | undefined): boolean =>
  (end.kind === 'vxlan' || end.kind === 'wireguard') && end.remoteIp === remoteIp;

/** Whether the kernel joins the links: by redirects from one to the other, or by a bridge of the wire. */
export async function isJoinedByKernel(
  { netlink, budget }: LookContext,
  links: readonly OwnedLink[],
): Promise<boolean> {
  const indexes = new Set(links.map(({ link }) => link.index));
  if (links.some(({ link }) => indexes.has(link.master))) return true;
  const joints = await readJoints(
    netlink,
    links.map(({ link }) => ({ index: link.index })),
    budget,
  );
  return [...joints.values()].some(({ target }) => target !== undefined && indexes.has(target));
}

/** Those of the remembered ends that are still this owner's: another forwarder may have taken them over since. */
export async function stillOwned(
  { netlink, marks, budget }: LookContext,
  ends: readonly EndState[],
): Promise<readonly EndState[]> {
  if (ends.length === 0) return [];
  const requests = ends.map(({ index }) => ({
    message: getLink(index),
    what: `read link ${index}`,
    tolerate: [errno.noDevice],
  }));
  const [answers = []] = await run(netlink, [{ protocol: 'route', requests }], budget);
  return ends.filter((_, position) => {
    const [message] = answers[position]?.messages ?? [];
    const alias = message === undefined ? '' : (parseLink(message)?.alias ?? '');
    return parseOthersTag(marks.owner, alias) === undefined;
  });
}

/** What the other forwarder had of the wire beside links. */
export async function clearLeft(
  context: LookContext,
  { client, replaces }: Wire,
  { current, policies }: { readonly current: CurrentWire; readonly policies: PolicyUse },
): Promise<void> {
  if (replaces === undefined || current.leftOver === undefined) return;
  await releaseFilterOf(context, replaces.forwarder);
  const places = client.kind === 'kernel' ? [[replaces.id, client.netns] as const] : [];
  await policies.clear([replaces.id], new Map(places), context.budget);
}

/** Its filter of outer sources lets go of tunnels that it has no more. */
async function releaseFilterOf(
  { netlink, marks, budget }: LookContext,
  forwarder: string,
): Promise<void> {
  const theirs = marksOf({ ...marks.owner, forwarder });
  const filter = createFilterUse(netlink, theirs.filterTable);
  const { mark } = filter;
  const inventory = await takeInventory(netlink, theirs, () => undefined, budget);
  await filter.prune(inventory, mark, budget);
}
