// Protects the difference between those who want a namespace and those who only pass its name on: a process that was handed
// a descriptor must not take itself, or another one that was, for a reason that the namespace lives.

import { closeSync, openSync } from 'node:fs';
import { expect, it } from 'vitest';
import { findNamespace, namespaceInodeUrl } from '../../../transports/netlink/namespace-url.ts';
import { createNetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { whyNoNamespaces } from '../../sandbox/namespaces.ts';

const pathOnly = 0o1000_0000;

it("finds the process's own", () => {
  expect(findNamespace(namespaceInodeUrl('/proc/self/ns/net'))).toBe('/proc/self/ns/net');
});

it.each(['inode://1/1', 'inode://x/1', 'file:///proc/self/ns/net', ''])('not for %j', (url) => {
  expect(findNamespace(url)).toBeUndefined();
});

it.skipIf(whyNoNamespaces() !== undefined)(
  'finds one by the descriptor of its maker, and no longer by one that only names it',
  () => {
    const made = createNetworkNamespace();
    const passed = openSync(made.path, pathOnly);
    expect(findNamespace(made.inodeUrl)).toBe(`/proc/self/fd/${made.descriptor}`);
    expect(findNamespace(made.inodeUrl)).toBe(`/proc/self/fd/${made.descriptor}`);
    made.close();
    expect(findNamespace(made.inodeUrl)).toBeUndefined();
    closeSync(passed);
  },
);
