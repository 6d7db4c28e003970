// Protects the proof that nothing is left: whoever still is in a namespace of ours is named, and nobody who merely has
// one with the number of one that has gone, as the kernel gives such numbers anew.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findLeftovers, takeCensus } from '../../../bin/demo/leftovers.ts';
import type { Netlink } from '../../../protocols/ports/netlink.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import { createNetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { spawnInNamespace } from '../../../transports/netlink/spawn-in-namespace.ts';
import { whyNoNamespaces } from '../../sandbox/namespaces.ts';

const reason = whyNoNamespaces();
const note = reason === undefined ? '' : ` (needs network namespaces: ${reason})`;

describe.skipIf(reason !== undefined)(`what is left of a namespace${note}`, () => {
  let netlink: Netlink;
  let namespace: ReturnType<typeof createNetworkNamespace>;
  let inside: ReturnType<typeof spawnInNamespace>;

  beforeEach(() => {
    netlink = createNetlink();
    namespace = createNetworkNamespace();
    inside = spawnInNamespace(namespace.url, ['sleep', '60'], { stdio: 'ignore' });
  });

  afterEach(async () => {
    inside.kill();
    await once(inside, 'exit');
    await netlink.close();
  });

  const leftovers = async () =>
    findLeftovers({
      before: await takeCensus(netlink),
      netlink,
      started: [],
      namespaces: [namespace],
      paths: [],
    });

  test('is named where a process is still inside', async () => {
    const [found] = await leftovers();
    expect(found).toContain(`held by /proc/${inside.pid}/ns/net`);
  });

  test('is nothing where it had gone before', async () => {
    namespace.close();
    expect(await leftovers()).toEqual([]);
  });
});
