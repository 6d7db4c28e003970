// What somebody else may do to vwire's objects in a node's namespace, by hand: links deleted or set down, cross
// connects taken away. Objects are found by vwire's tag, and said to be of the kind that the case asks for.

import { linksOf } from '../../bin/demo/namespace-links.ts';
import type { MeshNode } from '../../bin/demo/mesh.ts';
import { NetlinkWriter } from '../../protocols/netlink/codec.ts';
import { flag, ingressBlock, messageType } from '../../protocols/netlink/constants.ts';
import { changeLink, deleteLink, type Link } from '../../protocols/netlink/link.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { program } from './underlay.ts';

/** Which of a node's links; the letter of a name tells the role. */
export type DamagedLinks = 'client' | 'endpoint' | 'tunnel';

const letters = { client: 'ac', endpoint: 'bd' } as const;
/** `vw` and five digits stand before the letter. */
const letterAt = 7;

export async function taggedLinks(
  netlink: Netlink,
  node: MeshNode,
  which: DamagedLinks,
): Promise<readonly Link[]> {
  const links = await linksOf(netlink, node.namespace.url);
  return links
    .filter(({ alias }) => alias.startsWith('vwire/'))
    .filter(({ kind, name }) =>
      which === 'tunnel'
        ? kind === 'vxlan'
        : kind === 'veth' && letters[which].includes(name[letterAt] ?? '-'),
    );
}

export async function deleteLinks(
  netlink: Netlink,
  node: MeshNode,
  links: readonly Link[],
): Promise<void> {
  const requests = links.map(({ index, name }) => ({
    message: deleteLink(index),
    what: `delete ${name}`,
  }));
  await program(netlink, node.namespace, requests);
}

export async function setLinksDown(
  netlink: Netlink,
  node: MeshNode,
  links: readonly Link[],
): Promise<void> {
  const requests = links.map(({ index, name }) => ({
    message: changeLink({ index, isUp: false }),
    what: `set ${name} down`,
  }));
  await program(netlink, node.namespace, requests);
}

/** Takes away whatever filters what enters these links. */
export async function deleteRedirects(
  netlink: Netlink,
  node: MeshNode,
  links: readonly Link[],
): Promise<void> {
  const requests = links.map(({ index, name }) => ({
    // tcmsg: family and pads, index, handle, parent, info: all priorities and protocols.
    message: new NetlinkWriter(messageType.delFilter, flag.request | flag.ack)
      .zeros(4)
      .u32(index)
      .u32(0)
      .u32(ingressBlock)
      .u32(0)
      .finish(),
    what: `delete the redirect of ${name}`,
  }));
  await program(netlink, node.namespace, requests);
}
