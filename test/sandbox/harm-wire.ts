// What a person with ip, tc and nft can do to a wire, done over netlink from outside of vwire: the wire's links are
// found by their tags.

import { linksOf } from '../../bin/demo/namespace-links.ts';
import { deleteVxlanRemote } from '../../protocols/netlink/address.ts';
import { type EncodedMessage, NetlinkWriter } from '../../protocols/netlink/codec.ts';
import {
  clsactHandle,
  clsactParent,
  flag,
  messageType,
  tcAttribute,
} from '../../protocols/netlink/constants.ts';
import { parseIp } from '../../protocols/netlink/ip-address.ts';
import { changeLink, deleteLink, type Link } from '../../protocols/netlink/link.ts';
import { deleteTable } from '../../protocols/netlink/nftables.ts';
import { deleteIngressFilters, setRedirect } from '../../protocols/netlink/traffic-control.ts';
import type { Wire } from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkStep } from '../../protocols/ports/netlink.ts';
import { tablesIn } from './mesh-traces.ts';

export type KernelHarm =
  | 'deleted'
  | 'down'
  | 'renamed'
  | 'untagged'
  | 'unjoined'
  | 'filterless'
  /** Its redirect leads to the loopback. */
  | 'redirected'
  /** A filter for another protocol stands where the redirect belongs. */
  | 'blocked'
  /** A hook of another kind is there instead. */
  | 'rehooked'
  | 'remoteless'
  | 'unfiltered';

export interface HarmPlace {
  readonly netlink: Netlink;
  /** URL of the node's namespace. */
  readonly node: string;
}

export interface HarmTarget {
  /** Only its id, and the remote of a tunnel. */
  readonly wire: Pick<Wire, 'id'> & Partial<Pick<Wire, 'client' | 'endpoint'>>;
  readonly side: 'client' | 'endpoint';
}

const budget = { timeoutMs: 10_000 };
/** Index of the loopback in every namespace. */
const loopback = 1;

export async function harmWire(
  place: HarmPlace,
  harm: KernelHarm,
  target: HarmTarget,
): Promise<void> {
  const link = await wireLink(place, target.wire.id, target.side);
  if (link === undefined) throw new Error(`${target.wire.id} has no link at the ${target.side}`);
  const { index } = link;
  switch (harm) {
    case 'deleted':
      return run(place, [deleteLink(index)]);
    case 'down':
      return run(place, [changeLink({ index, isUp: false })]);
    case 'renamed':
      return run(place, [
        changeLink({ index, isUp: false }),
        changeLink({ index, name: 'renamed' }),
        changeLink({ index, isUp: true }),
      ]);
    case 'untagged':
      return run(place, [changeLink({ index, alias: '' })]);
    case 'unjoined':
      return run(place, [link.master === 0 ? deleteClsact(index) : deleteLink(link.master)]);
    case 'filterless':
      return run(place, [deleteIngressFilters(index)]);
    case 'redirected':
      return run(place, [setRedirect(index, loopback)]);
    case 'blocked':
      return run(place, [deleteIngressFilters(index), redirectIpv4(index)]);
    case 'rehooked':
      return run(place, [deleteClsact(index), addIngress(index)]);
    case 'remoteless':
      return run(place, [deleteVxlanRemote(index, remoteOf(link, target))]);
    case 'unfiltered':
      return flushTables(place);
  }
}

/** The node-side link of a wire. */
export async function wireLink(
  { netlink, node }: HarmPlace,
  wireId: string,
  side: 'client' | 'endpoint',
): Promise<Link | undefined> {
  const links = await linksOf(netlink, node);
  const words = [`w=${encodeURIComponent(wireId)}`, `e=${side}`];
  return links.find(({ alias }) => words.every((word) => alias.split(' ').includes(word)));
}

function remoteOf(link: Link, { wire, side }: HarmTarget) {
  const end = wire[side];
  if (end?.kind === 'vxlan') return { ip: parseIp(end.remoteIp), port: end.remotePort };
  const [, ip = ''] = / r=(\S+)/.exec(link.alias) ?? [];
  const [, port = ''] = / p=(\d+)/.exec(link.alias) ?? [];
  return { ip: parseIp(ip), port: Number(port) };
}

/** tcmsg: family u8, pads, index i32, handle, parent and info u32. */
function tcMessage(type: number, index: number, words: readonly [number, number, number]) {
  const writer = new NetlinkWriter(type, flag.request | flag.ack).zeros(4).u32(index);
  for (const word of words) writer.u32(word);
  return writer.finish();
}

const deleteClsact = (index: number): EncodedMessage =>
  tcMessage(messageType.delQdisc, index, [clsactHandle, clsactParent, 0]);

const addIngress = (index: number): EncodedMessage =>
  new NetlinkWriter(messageType.newQdisc, flag.request | flag.ack | flag.create)
    .zeros(4)
    .u32(index)
    .u32(clsactHandle)
    .u32(clsactParent)
    .u32(0)
    .textAttribute(tcAttribute.kind, 'ingress')
    .finish();

/** The lower half of tcm_info, 32 bytes into the message, is the protocol in network order. */
function redirectIpv4(index: number): EncodedMessage {
  const { bytes, holes } = setRedirect(index, loopback);
  const changed = bytes.slice();
  changed.set([0x08, 0x00], 32);
  return { bytes: changed, holes };
}

/** As `nft flush ruleset` does, as far as it is vwire's. */
async function flushTables(place: HarmPlace): Promise<void> {
  for (const table of await tablesIn(place.netlink, place.node)) {
    await run(place, [deleteTable(table)], 'netfilter');
  }
}

async function run(
  { netlink, node }: HarmPlace,
  messages: readonly EncodedMessage[],
  protocol: NetlinkStep['protocol'] = 'route',
): Promise<void> {
  const requests = messages.map((message) => ({ message, what: 'harm a wire' }));
  const outcome = await netlink.execute([{ namespace: node, protocol, requests }], budget);
  if (!outcome.ok) throw new Error(`${outcome.failure.what}: ${outcome.failure.found}`);
}
