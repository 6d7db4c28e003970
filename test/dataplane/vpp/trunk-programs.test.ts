// Protects what the kernel does between the ends of wires and the trunk: frames leave with the tags of their link, and come
// back to the link that the tags name, as they were. A program at the trunk's other side stands for VPP.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { branchProgram, branchTags, trunkProgram } from '../../../dataplane/vpp/trunk-programs.ts';
import {
  add,
  addRegister,
  assemble,
  call,
  copy,
  exit,
  load32,
  mask,
  multiply,
  set,
} from '../../../protocols/bpf/instructions.ts';
import { addAddress } from '../../../protocols/netlink/address.ts';
import { parsePrefix } from '../../../protocols/netlink/ip-address.ts';
import {
  changeLink,
  createVeth,
  getLinkByName,
  parseLink,
} from '../../../protocols/netlink/link.ts';
import { addClsact, dumpIngressFilters } from '../../../protocols/netlink/traffic-control.ts';
import {
  parseIngressProgram,
  setIngressProgram,
} from '../../../protocols/netlink/traffic-program.ts';
import type { NetlinkRequest } from '../../../protocols/ports/netlink.ts';
import { ping } from '../../../transports/icmp/ping.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { createSandbox, type Sandbox, whyNoNamespaces } from '../../sandbox/namespaces.ts';

const budget = { timeoutMs: 5_000 };
const reason = whyNoNamespaces();

test('no two links have the same tags, and none has a tag that means something else', () => {
  const indexes = [1, 2, 4093, 4094, 4095, 8188, 1_000_000, 4094 * 4094 - 1];
  const all = indexes.map(branchTags);
  expect(new Set(all.map(({ outer, inner }) => `${outer} ${inner}`)).size).toBe(indexes.length);
  for (const id of all.flatMap(({ outer, inner }) => [outer, inner])) {
    expect(id).toBeGreaterThanOrEqual(1);
    expect(id).toBeLessThanOrEqual(4094);
  }
});

describe.skipIf(reason !== undefined)(`the trunk's programs in the kernel ${reason ?? ''}`, () => {
  let sandbox: Sandbox;
  let node: NetworkNamespace;
  let netlink: ReturnType<typeof createNetlink>;

  beforeEach(() => {
    sandbox = createSandbox();
    node = sandbox.namespace();
    netlink = createNetlink({ namespace: node.url });
  });

  afterEach(async () => {
    await netlink.close();
    await sandbox.close();
  });

  async function run(requests: readonly NetlinkRequest[]) {
    const outcome = await netlink.execute([{ protocol: 'route', requests }], budget);
    if (!outcome.ok) throw new Error(`${outcome.failure.what}: ${outcome.failure.found}`);
    return outcome.answers[0] ?? [];
  }

  async function indexOf(name: string): Promise<number> {
    const [answer] = await run([{ message: getLinkByName(name), what: `find ${name}` }]);
    const message = answer?.messages[0];
    return (message && parseLink(message))?.index ?? 0;
  }

  /** A pair, both sides up; the first in the node, the other beside it or in the namespace. */
  async function pair(name: string, peer: string, inside?: NetworkNamespace): Promise<number> {
    const place = inside && { namespaceDescriptor: { namespaceDescriptor: inside.url } };
    const message = createVeth({ name, group: 0, mtu: 1500, peer: { name: peer, ...place } });
    await run([{ message, what: `create ${name}` }]);
    const index = await indexOf(name);
    await run([{ message: changeLink({ index, isUp: true }), what: `set ${name} up` }]);
    return index;
  }

  const up = (index: number) => changeLink({ index, isUp: true });

  async function attach(index: number, program: Uint8Array): Promise<void> {
    await run([
      { message: addClsact(index), what: 'add a hook' },
      { message: setIngressProgram(index, { program, name: 'of a test' }), what: 'attach' },
    ]);
  }

  async function workload(name: string, address: string) {
    const namespace = sandbox.namespace();
    const index = await pair(`node-${name}`, 'eth', namespace);
    const at = { register: 'link' };
    await sandbox.program(namespace, [
      {
        message: getLinkByName('eth'),
        what: 'find eth',
        store: { register: 'link', offset: 4 },
      },
      { message: changeLink({ index: at, isUp: true }), what: 'set eth up' },
      { message: addAddress(at, parsePrefix(address)), what: 'add an address' },
    ]);
    return { namespace, index };
  }

  test('two ends reach each other over the trunk, and no third one', async () => {
    const [left, right, other] = [
      await workload('a', '10.9.0.1/24'),
      await workload('b', '10.9.0.2/24'),
      await workload('c', '10.9.0.3/24'),
    ];
    const outside = await pair('trunk-a', 'trunk-b');
    const inside = await indexOf('trunk-b');
    await run([{ message: up(inside), what: 'set the trunk up' }]);
    await attach(inside, trunkProgram());
    for (const { index } of [left, right, other]) await attach(index, branchProgram(inside));
    await attach(outside, exchange(left.index + right.index, outside));
    const [dumped] = await run([{ message: dumpIngressFilters(inside), what: 'list' }]);
    expect(dumped?.messages.map(parseIngressProgram)).toContain('of a test');

    const echo = (destination: string) =>
      ping({ namespace: left.namespace.url, destination, count: 5, intervalMs: 5, timeoutMs: 300 });
    expect(await echo('10.9.0.2')).toMatchObject({ sent: 5, received: 5 });
    expect(await echo('10.9.0.3')).toMatchObject({ received: 0 });
  });
});

/** What comes with the tags of one link goes back with those of the other: `sum` is that of both indexes. */
function exchange(sum: number, trunk: number): Uint8Array {
  const [pushVlan, popVlan, redirect] = [18, 19, 23];
  const tag = (register: 7 | 8) => [
    load32(register, 6, 24),
    mask(register, 0xfff),
    add(register, -1),
  ];
  const push = [set(2, 0x0081), copy(1, 6), call(pushVlan)];
  // Both links have small numbers, so that the outer tag is the same.
  return assemble([
    copy(6, 1),
    ...tag(7),
    copy(1, 6),
    call(popVlan),
    ...tag(8),
    copy(1, 6),
    call(popVlan),
    multiply(8, -1),
    add(8, sum),
    copy(3, 8),
    add(3, 1),
    ...push,
    set(3, 1),
    addRegister(3, 7),
    ...push,
    set(1, trunk),
    set(2, 0),
    call(redirect),
    exit,
  ]);
}
