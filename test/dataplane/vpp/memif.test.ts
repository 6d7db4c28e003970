// Protects shared memory with workloads: one that has a VPP of its own reaches, over a memif, a workload with an interface
// of the kernel and another that has a VPP too, and is as it was when the wire is retargeted.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { MemifEnd, Wire } from '../../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../../protocols/ports/vpp.ts';
import {
  allOnes,
  interfaceFlags,
  memifMode,
  memifRole,
} from '../../../protocols/vpp/messages/enums.ts';
import { vppPrefix } from '../../../protocols/vpp/vpp-address.ts';
import { ping } from '../../../transports/icmp/ping.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { unixHost } from '../../../transports/unix-stream/unix-stream.ts';
import { createVppClient } from '../../../transports/vpp-api-client/vpp-api-client.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { createSandbox, type Sandbox } from '../../sandbox/namespaces.ts';
import { startVppNode, whyNoVppNode } from '../../sandbox/vpp.ts';
import { endpointEnd } from '../../sandbox/wires.ts';
import { type VppNode, vppNode } from './vpp-node.ts';

const budget = { timeoutMs: 20_000 };
/** As a title, the payload and the mode: frames, or packets without Ethernet headers. */
const modes = [
  ['frames', 'ETHERNET', 'ethernet'],
  ['packets alone', 'IP', 'ip'],
] as const;
const reason = whyNoVppNode();
const name = '@/tmp/memif/1/memif.socket';

describe.skipIf(reason !== undefined)(`memif over VPP ${reason ?? ''}`, () => {
  let sandbox: Sandbox;
  let node: VppNode;
  let closes: (() => Promise<void>)[];

  beforeEach(async () => {
    sandbox = createSandbox();
    closes = [];
    node = await vppNode(sandbox);
  });

  afterEach(async () => {
    for (const close of closes) await close();
    await node.close();
    await sandbox.close();
  });

  /** A workload with a VPP of its own that has this address at its end of a memif. */
  async function workload(role: number, address: string, mode: number): Promise<NetworkNamespace> {
    const started = await startVppNode({ sandbox });
    const vpp = createVppClient({ socketPath: started.vpp.apiSocket, host: unixHost });
    closes.push(async () => {
      await vpp.close();
      await started.close();
    });
    await makeMemif(vpp, { role, mode, address });
    return started.node;
  }

  const shared = (
    place: NetworkNamespace,
    role: MemifEnd['role'],
    mode: MemifEnd['mode'],
  ): MemifEnd => ({
    kind: 'memif',
    socket: { kind: 'abstract', name, netns: place.url },
    role,
    mode,
  });

  const kernelEnd = (place: NetworkNamespace) => ({
    ...endpointEnd(place.url, 1),
    addresses: ['10.77.0.2/24'],
    routes: [],
  });

  const reaches = (from: NetworkNamespace) =>
    eventually('the other workload answers', 10_000, async () =>
      expect(
        await ping({
          namespace: from.url,
          destination: '10.77.0.1',
          count: 5,
          intervalMs: 10,
          timeoutMs: 1_000,
        }),
      ).toMatchObject({ received: 5 }),
    );

  test.each(modes)(
    'a client with shared memory of %s reaches an Endpoint in the kernel, and another one after a retarget',
    async (_, payload, mode) => {
      const client = await workload(memifRole.slave, '10.77.0.1/24', memifMode[mode]);
      const [first, second] = [sandbox.namespace(), sandbox.namespace()];
      const wire: Wire = {
        id: 'shared',
        payload,
        mtu: 1500,
        client: shared(client, 'master', mode),
        endpoint: kernelEnd(first),
      };
      await node.dataplane.ensure(wire, budget);
      await reaches(first);
      await node.dataplane.ensure({ ...wire, endpoint: kernelEnd(second) }, budget);
      await reaches(second);
      const restarted = node.driver();
      expect(await restarted.list(budget)).toMatchObject([{ id: wire.id, complete: true }]);
      // Whoever made the wire puts it back, so nobody else may take it away meanwhile.
      await restarted.close();
      await node.vpp.signal('SIGKILL');
      await node.vpp.start();
      await reaches(second);
      await node.dataplane.remove([wire.id], budget);
      expect(await node.dataplane.list(budget)).toEqual([]);
    },
    60_000,
  );

  test.each(modes)(
    'an Endpoint with shared memory of %s is reached by a client in the kernel',
    async (_, payload, mode) => {
      const endpoint = await workload(memifRole.master, '10.77.0.1/24', memifMode[mode]);
      const client = sandbox.namespace();
      const wire: Wire = {
        id: 'shared',
        payload,
        mtu: 1500,
        client: kernelEnd(client),
        endpoint: shared(endpoint, 'slave', mode),
      };
      await node.dataplane.ensure(wire, budget);
      await reaches(client);
      await node.dataplane.remove([wire.id], budget);
      expect(await node.dataplane.list(budget)).toEqual([]);
    },
    60_000,
  );
});

async function makeMemif(
  vpp: Vpp,
  { role, mode, address }: { role: number; mode: number; address: string },
): Promise<void> {
  const socket_filename = `abstract:${name.slice(1)}`;
  const { socket_id } = await vpp.request(
    'memif_socket_filename_add_del_v2',
    { is_add: true, socket_id: allOnes, socket_filename },
    budget,
  );
  const { sw_if_index } = await vpp.request(
    'memif_create_v2',
    { role, mode, id: 0, socket_id },
    budget,
  );
  await vpp.request(
    'sw_interface_set_flags',
    { sw_if_index, flags: interfaceFlags.adminUp },
    budget,
  );
  const prefix = vppPrefix(address);
  await vpp.request('sw_interface_add_del_address', { sw_if_index, is_add: true, prefix }, budget);
}
