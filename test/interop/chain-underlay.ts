// The network between the two nodes of a chain. Its links fill in the checksums of what they send, as a network card does
// and a veth does not: a switch in user space at the other end would hand on packets that its kernel then drops.

import { linksOf, underlayName } from '../../bin/demo/namespace-links.ts';
import { findFamily } from '../../dataplane/kernel/probe.ts';
import { computeChecksums } from '../../protocols/netlink/ethtool.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { Sandbox, UnderlayEnd } from '../sandbox/namespaces.ts';

const budget = { timeoutMs: 10_000 };

export async function joinNodes(
  sandbox: Sandbox,
  netlink: Netlink,
  ends: readonly [UnderlayEnd, UnderlayEnd],
): Promise<void> {
  await sandbox.underlay(ends);
  const family = await findFamily(netlink, 'ethtool', budget);
  if (family === undefined) throw new Error('the kernel lets nobody turn off checksum offload');
  for (const { namespace } of ends) {
    const links = await linksOf(netlink, namespace.url);
    const index = links.find(({ name }) => name === underlayName)?.index ?? 0;
    const message = computeChecksums(family, index);
    const requests = [{ message, what: `have ${underlayName} compute its checksums` }];
    const step = { namespace: namespace.url, protocol: 'generic', requests } as const;
    const outcome = await netlink.execute([step], budget);
    if (!outcome.ok) throw new Error(`${outcome.failure.what}: ${outcome.failure.found}`);
  }
}
