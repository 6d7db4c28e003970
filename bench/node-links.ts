// Links in a node for suites that measure what joins them: pairs without workloads, and a pair by hand with addresses.

import { addAddress } from '../protocols/netlink/address.ts';
import { computeChecksums } from '../protocols/netlink/ethtool.ts';
import { getFamily, parseFamilyId } from '../protocols/netlink/generic.ts';
import { parsePrefix } from '../protocols/netlink/ip-address.ts';
import { changeLink, createVeth, getLinkByName, parseLink } from '../protocols/netlink/link.ts';
import type { Netlink, NetlinkStep } from '../protocols/ports/netlink.ts';
import type { NodeLink, WireEnds } from '../protocols/ports/wire-ends.ts';
import type { Sandbox } from '../test/sandbox/namespaces.ts';
import type { NetworkNamespace } from '../transports/netlink/network-namespace.ts';

const budget = { timeoutMs: 20_000 };

/** Where links are made. */
export interface LinkStage {
  readonly sandbox: Sandbox;
  /** Of the node's namespace. */
  readonly netlink: Netlink;
}

export type LinkPair = readonly [NodeLink, NodeLink];

/** Pairs of links in the node, up; what their other ends are in does not matter. */
export async function makeLinks(
  { netlink, sandbox }: LinkStage,
  count: number,
  prefix = 'bench',
): Promise<readonly LinkPair[]> {
  const far = sandbox.namespace();
  const pairs: LinkPair[] = [];
  for (let number = 0; number < count; number += 1) {
    const made: NodeLink[] = [];
    for (const side of ['a', 'b']) {
      const name = `${prefix}${side}${number}`;
      made.push(await makeLink(netlink, name, { namespace: far, name }));
    }
    const [a, b] = made;
    if (a !== undefined && b !== undefined) pairs.push([a, b]);
  }
  return pairs;
}

async function makeLink(
  netlink: Netlink,
  name: string,
  far: { readonly namespace: NetworkNamespace; readonly name: string },
): Promise<NodeLink> {
  const namespaceDescriptor = { namespaceDescriptor: far.namespace.url };
  const peer = { name: far.name, namespaceDescriptor };
  const index = { register: name };
  const answers = await execute(netlink, [
    { message: createVeth({ name, group: 0, mtu: 0, peer }), what: `create ${name}` },
    { message: getLinkByName(name), what: `find ${name}`, store: { register: name, offset: 4 } },
    { message: changeLink({ index, isUp: true }), what: `set ${name} up` },
  ]);
  const message = answers[1]?.messages[0];
  const link = message && parseLink(message);
  return { name, index: link?.index ?? 0, mtu: link?.mtu ?? 0 };
}

/** A wire's id is the number of its pair. */
export function endsThatAreThere(pairs: readonly LinkPair[]): WireEnds {
  const linksOf = (id: string) => {
    const [client, endpoint] = pairs[Number(id)] ?? [];
    if (client === undefined || endpoint === undefined) throw new Error(`no links for ${id}`);
    return { client, endpoint };
  };
  return {
    probe: async () => ({ mechanisms: ['KERNEL'], missing: [] }),
    async ensure({ id }, _, joining) {
      const joined = await joining.join(linksOf(id));
      await joined.settle();
    },
    remove: (_, __, { leave }) => leave(),
    list: async () => [],
    inspect: async (id) => ({ missing: [], links: linksOf(id) }),
    statistics: async () => new Map(),
    watch: () => () => {},
    close: async () => {},
  };
}

/** Links `hand0` and `hand1`, with addresses in their workloads; without checksums of the kernel's no stream would pass. */
export async function linksByHand(
  netlink: Netlink,
  ends: readonly { readonly namespace: NetworkNamespace; readonly address: string }[],
): Promise<readonly NodeLink[]> {
  const asking = [{ message: getFamily('ethtool'), what: 'find ethtool' }];
  const [found] = await execute(netlink, asking, { protocol: 'generic' });
  const family = parseFamilyId(found?.messages[0]) ?? 0;
  const made: NodeLink[] = [];
  for (const [at, { namespace, address }] of ends.entries()) {
    made.push(await makeLink(netlink, `hand${at}`, { namespace, name: 'hand' }));
    await configureHand(netlink, { namespace: namespace.url, address, family });
  }
  return made;
}

async function configureHand(
  netlink: Netlink,
  { namespace, address, family }: { namespace: string; address: string; family: number },
): Promise<void> {
  const [answer] = await execute(netlink, [{ message: getLinkByName('hand'), what: 'find hand' }], {
    namespace,
  });
  const index = (answer?.messages[0] && parseLink(answer.messages[0]))?.index ?? 0;
  await execute(
    netlink,
    [
      { message: changeLink({ index, isUp: true }), what: 'set hand up' },
      { message: addAddress(index, parsePrefix(`${address}/30`)), what: 'add an address' },
    ],
    { namespace },
  );
  const message = computeChecksums(family, index);
  const request = { message, what: 'have hand compute its checksums' };
  await execute(netlink, [request], { namespace, protocol: 'generic' });
}

async function execute(
  netlink: Netlink,
  requests: NetlinkStep['requests'],
  place: Partial<Pick<NetlinkStep, 'namespace' | 'protocol'>> = {},
) {
  const outcome = await netlink.execute([{ protocol: 'route', ...place, requests }], budget);
  if (!outcome.ok) throw new Error(`${outcome.failure.what}: ${outcome.failure.found}`);
  return outcome.answers[0] ?? [];
}
