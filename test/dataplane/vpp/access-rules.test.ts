// Protects access rules of wires over VPP: of what a client sends exactly that passes which the file lets through, and
// what answers it; a wire whose rules are taken away is told to be damaged and gets them back, as it does from a VPP that
// ended.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { readYamlDocument } from '../../../bin/yaml-file.ts';
import { accessRulesFromDocument } from '../../../protocols/nsm/access-rules-document.ts';
import { ping } from '../../../transports/icmp/ping.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { transferOverTcp } from '../../../transports/netlink/tcp-transfer.ts';
import { unixHost } from '../../../transports/unix-stream/unix-stream.ts';
import { createVppClient } from '../../../transports/vpp-api-client/vpp-api-client.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { createSandbox, type Sandbox } from '../../sandbox/namespaces.ts';
import { whyNoVppNode } from '../../sandbox/vpp.ts';
import { localWire, toIpv6, wireAddresses } from '../../sandbox/wires.ts';
import { type VppNode, vppNode } from './vpp-node.ts';

const budget = { timeoutMs: 20_000 };
const reason = whyNoVppNode();
const bytes = 1 << 20;
const open = 8080;
const shut = 8081;

/** As the reference has it in its examples, and for IPv6 in short. */
const anywhere = `
    address: { af: 0, un: { xxx_uniondata: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] } }
    len: 0`;
const text = `
allow icmp:
  ispermit: 1
  srcprefix:${anywhere}
  dstprefix:${anywhere}
  proto: 1
  srcportoricmptypelast: 65535
  dstportoricmpcodelast: 65535
allow tcp8080:
  ispermit: 1
  srcprefix:${anywhere}
  dstprefix:${anywhere}
  proto: 6
  srcportoricmptypefirst: 0
  srcportoricmptypelast: 65535
  dstportoricmpcodefirst: ${open}
  dstportoricmpcodelast: ${open}
allow tcp8080 over IPv6: { ispermit: 1, srcprefix: '::/0', dstprefix: 'fd00::/16', proto: 6, dstportoricmpcodefirst: ${open}, dstportoricmpcodelast: ${open} }
`;

describe.skipIf(reason !== undefined)(`access rules over VPP ${reason ?? ''}`, () => {
  let sandbox: Sandbox;
  let node: VppNode;
  let client: NetworkNamespace;
  let endpoint: NetworkNamespace;
  const { endpoint: ip } = wireAddresses(1);

  beforeEach(async () => {
    const document = readYamlDocument(text, { kind: 'file', name: 'rules' });
    const accessRules = accessRulesFromDocument(document?.value, () => undefined);
    sandbox = createSandbox();
    node = await vppNode(sandbox, { accessRules });
    [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
  });

  afterEach(async () => {
    await node.close();
    await sandbox.close();
  });

  const wire = () => localWire({ client: client.url, endpoint: endpoint.url }, 1);
  const transfer = (address: string, port: number, timeoutMs: number) =>
    transferOverTcp({ from: client.url, to: endpoint.url, address, port, bytes, timeoutMs });
  const echo = () =>
    ping({ namespace: client.url, destination: ip, count: 5, intervalMs: 5, timeoutMs: 2000 });

  async function expectFiltered(): Promise<void> {
    expect(await echo()).toMatchObject({ received: 5 });
    for (const address of [ip, toIpv6(ip)]) {
      expect(await transfer(address, open, 20_000)).toBe(bytes);
      expect(await transfer(address, shut, 1_000)).toBe(0);
    }
  }

  test('let TCP to one port through, and to no other, of either family', async () => {
    await node.dataplane.ensure(wire(), budget);
    await expectFiltered();
    await node.dataplane.remove([wire().id], budget);
    expect(await node.dataplane.list(budget)).toEqual([]);
  });

  test('are missed where somebody takes them away, and put back', async () => {
    const { dataplane } = node;
    await dataplane.ensure(wire(), budget);
    const vpp = createVppClient({ socketPath: node.vpp.apiSocket, host: unixHost });
    try {
      const all = { sw_if_index: 0xffff_ffff };
      const lists = await vpp.dump('acl_interface_list_dump', all, budget);
      const attached = lists.find(({ acls }) => acls.length > 0);
      const none = { sw_if_index: attached?.sw_if_index ?? 0, n_input: 0, acls: [] };
      await vpp.request('acl_interface_set_acl_list', none, budget);
    } finally {
      await vpp.close();
    }
    expect(await dataplane.inspect(wire().id, budget)).toEqual([
      expect.stringMatching(/^the access rules of host-v[tw]\S+ are gone$/),
    ]);
    await dataplane.ensure(wire(), budget);
    expect(await dataplane.inspect(wire().id, budget)).toEqual([]);
    await expectFiltered();
  });

  test('are back with their wires when a VPP that was killed runs again', async () => {
    await node.dataplane.ensure(wire(), budget);
    await node.vpp.signal('SIGKILL');
    await node.vpp.start();
    await eventually('the wire is whole', 20_000, async () =>
      expect(await node.dataplane.list(budget)).toMatchObject([{ complete: true }]),
    );
    await expectFiltered();
  });
});
