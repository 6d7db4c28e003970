// Protects strangers: a namespace that has got the number of one that ended is another one, however it is named.

import { expect, it } from 'vitest';
import { createNamespaces } from '../../../transports/netlink/namespace-identity.ts';
import { createNetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { whyNoNamespaces } from '../../sandbox/namespaces.ts';

const namespaces = createNamespaces('boot');

it.skipIf(whyNoNamespaces() !== undefined)(
  'knows a namespace by whichever URL, and a stranger',
  async () => {
    const first = createNetworkNamespace();
    const { url, inodeUrl } = first;
    const identity = namespaces.identityOf(inodeUrl);
    expect(identity).toMatch(/^boot \d+$/);
    expect(namespaces.identityOf(url)).toBe(identity);
    expect(createNamespaces('next boot').identityOf(url)).not.toBe(identity);
    first.close();

    const strangers = [createNetworkNamespace()];
    await eventually('a stranger has its number', 10_000, () => {
      if (strangers.at(-1)?.inodeUrl !== inodeUrl) strangers.push(createNetworkNamespace());
      expect(strangers.at(-1)?.inodeUrl).toBe(inodeUrl);
    });
    const found = namespaces.identityOf(inodeUrl);
    expect(found).toBeDefined();
    expect(found).not.toBe(identity);
    for (const each of strangers) each.close();
  },
);

it.each(['inode://1/1', 'file:///proc/self/no-such-file'])('says that %s leads nowhere', (url) => {
  expect(() => namespaces.identityOf(url)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
});
