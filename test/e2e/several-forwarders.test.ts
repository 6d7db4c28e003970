// Protects a node with two forwarders: new wires are spread over both, and where one is killed and does not come back
// its wires go on through the other one, behind the same interfaces, while the other's hear nothing and lose nothing.
// Nothing is left of either, whether the one that was killed ever comes back or not: it makes nothing again for clients
// that have left meanwhile, nor for a stranger in a namespace that has got the number of one that has ended.

import { expect, test } from 'vitest';

import type { ClientReport } from '../../bin/demo/client-reports.ts';
import type { MeshNode } from '../../bin/demo/mesh.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { createNetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import { expectPings, interfacesOf, startSteadyPing } from '../sandbox/mesh-probes.ts';

const testTimeoutMs = 240_000;
const waitMs = 60_000;
/** Each of the two has two of them. */
const wireCount = 4;
const pingIntervalMs = 5;

let names = 0;

/** Each test has its own: one that is started again adopts what its journal holds of the test before. */
const nameOfSecond = (node: MeshNode): string => `forwarder-b${(names += 1)}-${node.name}`;

/** Beside the one that the node has anyway. */
function startSecond({ processes, name: domain }: TestMesh, node: MeshNode, name: string) {
  return processes.start({
    kind: 'node',
    name: `${node.name}-${name}`,
    role: ['forwarder'],
    namespace: node.namespace,
    env: {
      NSM_NAME: name,
      NSM_LISTEN_ON: `nats://${domain}/${node.name}/${name}`,
      NSM_CONNECT_TO: `nats://${domain}/${node.name}/nsmgr`,
      NSM_TUNNEL_IP: node.tunnelIp,
      VWIRE_NODE: node.name,
    },
  });
}

let count = 0;

/** Clients of the first node, by turns with an Endpoint on either node, each pinging it all the time. */
async function liveWires(mesh: TestMesh) {
  const { processes, nodes, workloads, netlink } = mesh;
  count += 1;
  for (const [index, node] of nodes.entries()) {
    await workloads.endpoint({
      node,
      services: [`shared-${count}-${index}`],
      cidr: [['172.16.1.0/24']],
    });
  }
  const wires = [];
  for (let index = 0; index < wireCount; index += 1) {
    const client = {
      name: `sharing-${count}-${index}`,
      node: nodes[0],
      namespace: mesh.namespace(),
    };
    const services = `kernel://shared-${count}-${index >> 1}/nsm-1`;
    const child = await processes.startClient(client, { NSM_NETWORK_SERVICES: services });
    const report = await processes.clients.connected(client.name, waitMs);
    const [address = ''] = (report.peerAddresses ?? []).map((each) => each.split('/')[0] ?? '');
    await expectPings(client.namespace, address);
    wires.push({
      client,
      child,
      report,
      address,
      before: await interfacesOf(netlink, client.namespace),
      steady: await startSteadyPing(client.namespace, address, pingIntervalMs),
      latest: (): ClientReport | undefined => processes.clients.of(client.name)[0],
    });
  }
  return wires;
}

type LiveWire = Awaited<ReturnType<typeof liveWires>>[number];

const isThrough = (forwarder: string) => (wire: LiveWire) =>
  wire.latest()?.path?.[2] === forwarder || wire.latest()?.path?.[4] === forwarder;

async function expectMoved(wires: readonly LiveWire[], from: string): Promise<void> {
  for (const wire of wires) {
    await eventually(`${wire.client.name} is content elsewhere`, waitMs, () => {
      expect(wire.latest()?.event).toBe('established');
      expect(isThrough(from)(wire)).toBe(false);
    });
  }
}

/** It has taken up what there is, and is chosen again: by turns, since all of these stay until then. */
async function expectServing(mesh: TestMesh, node: MeshNode, name: string): Promise<void> {
  const caller = await mesh.workloads.caller(node);
  const made: Connection[] = [];
  await eventually(`${name} has new wires`, waitMs, async () => {
    const service = `shared-${count}-0`;
    const interfaceName = `nsm-${made.length}`;
    const connection = await caller.request({ service, interfaceName });
    made.push(connection);
    expect(connection.path?.pathSegments[2]?.name).toBe(name);
  });
  for (const connection of made) await caller.close(connection);
}

/** And has it started again by its supervisor. */
async function killManager(mesh: TestMesh, node: MeshNode): Promise<void> {
  const { processes } = mesh;
  const supervised = `${node.name}/nsmgr`;
  const pid = processes.supervised.get(supervised)?.pid;
  if (pid === undefined) expect.fail('the manager was never reported');
  process.kill(pid, 'SIGKILL');
  await eventually('the manager is started again', waitMs, () =>
    expect(processes.supervised.get(supervised)?.pid).not.toBe(pid),
  );
  await expectServing(mesh, node, `forwarder-${node.name}`);
}

const places = [
  ['of the clients', 0],
  ['of an Endpoint', 1],
] as const;

describeMesh('two forwarders on a node', (mesh) => {
  test.each(places)(
    'the one on the node %s killed for good: its wires go on through the other one',
    async (_, where) => {
      const { nodes, netlink, traces } = mesh();
      const node = nodes[where];
      const name = nameOfSecond(node);
      const second = await startSecond(mesh(), node, name);
      const wires = await liveWires(mesh());
      const own = wires.filter(isThrough(name));
      const others = wires.filter((wire) => !own.includes(wire));
      expect(own).toHaveLength(where === 0 ? 2 : 1);
      const heard = others.map((wire) => wire.latest());

      second.kill('SIGKILL');
      await second.exited;
      await expectMoved(own, name);
      expect(others.map((wire) => wire.latest())).toEqual(heard);
      for (const wire of wires) {
        const { sent, received } = await wire.steady.stop();
        await expectPings(wire.client.namespace, wire.address);
        expect(await interfacesOf(netlink, wire.client.namespace)).toEqual(wire.before);
        if (others.includes(wire)) expect(sent - received, `lost of ${sent}`).toBe(0);
      }
      expect((await traces()).join('\n')).not.toContain(name);
      for (const { child } of wires) await child.stop(10_000);
      expect(await traces()).toEqual([]);
    },
    testTimeoutMs,
  );

  test(
    'one that comes back when its wires have moved lets go of them and touches nobody’s',
    async () => {
      const { nodes, netlink, traces } = mesh();
      const [node] = nodes;
      const name = nameOfSecond(node);
      const first = await startSecond(mesh(), node, name);
      const wires = await liveWires(mesh());
      const own = wires.filter(isThrough(name));
      first.kill('SIGKILL');
      await first.exited;
      await expectMoved(own, name);
      const moved = await traces();
      const heard = wires.map((wire) => wire.latest());

      const back = await startSecond(mesh(), node, name);
      await expectServing(mesh(), node, name);
      expect(await traces()).toEqual(moved);
      expect(wires.map((wire) => wire.latest())).toEqual(heard);
      for (const wire of wires) {
        await expectPings(wire.client.namespace, wire.address);
        expect(await interfacesOf(netlink, wire.client.namespace)).toEqual(wire.before);
        const { sent, received } = await wire.steady.stop();
        if (!own.includes(wire)) expect(sent - received, `lost of ${sent}`).toBe(0);
      }
      for (const { child } of wires) await child.stop(10_000);
      expect(await traces()).toEqual([]);
      await back.stop(10_000);
    },
    testTimeoutMs,
  );

  test(
    'one that hangs, registered: its wires go on through the other one, and it lets go of them when it goes on',
    async () => {
      const { nodes, netlink, traces } = mesh();
      const [node] = nodes;
      const name = nameOfSecond(node);
      const second = await startSecond(mesh(), node, name);
      const wires = await liveWires(mesh());
      const own = wires.filter(isThrough(name));

      second.kill('SIGSTOP');
      try {
        await expectMoved(own, name);
      } finally {
        second.kill('SIGCONT');
      }
      await expectServing(mesh(), node, name);
      for (const wire of wires) {
        await expectPings(wire.client.namespace, wire.address);
        expect(await interfacesOf(netlink, wire.client.namespace)).toEqual(wire.before);
        const { sent, received } = await wire.steady.stop();
        expect(sent - received, `lost of ${sent}`).toBe(0);
        expect(isThrough(name)(wire)).toBe(false);
      }
      expect((await traces()).join('\n')).not.toContain(name);
      for (const { child } of wires) await child.stop(10_000);
      expect(await traces()).toEqual([]);
      await second.stop(10_000);
    },
    testTimeoutMs,
  );

  test(
    'one that comes back when its wires have moved and ended, and nobody is left to tell it',
    async () => {
      const { nodes, traces } = mesh();
      const [node] = nodes;
      const name = nameOfSecond(node);
      const first = await startSecond(mesh(), node, name);
      const wires = await liveWires(mesh());
      first.kill('SIGKILL');
      await first.exited;
      await expectMoved(wires.filter(isThrough(name)), name);
      await killManager(mesh(), node);
      for (const { child, steady } of wires) {
        await steady.stop();
        await child.stop(10_000);
      }
      expect(await traces()).toEqual([]);

      const back = await startSecond(mesh(), node, name);
      await expectServing(mesh(), node, name);
      expect(await traces()).toEqual([]);
      await back.stop(10_000);
    },
    testTimeoutMs,
  );

  test(
    'one that comes back when a workload’s namespace has ended, and a stranger has its number',
    async () => {
      const { nodes, netlink, traces } = mesh();
      const [node] = nodes;
      const name = nameOfSecond(node);
      const first = await startSecond(mesh(), node, name);
      count += 1;
      const service = `shared-${count}-0`;
      await mesh().workloads.endpoint({ node, services: [service], cidr: [['172.16.1.0/24']] });
      const caller = await mesh().workloads.caller(node);
      const connection = await caller.request({ service });
      expect(connection.path?.pathSegments[2]?.name).toBe(name);
      const { inodeUrl } = caller.namespace;
      first.kill('SIGKILL');
      await first.exited;
      caller.namespace.close();
      const strangers = [createNetworkNamespace()];
      await eventually('a stranger has the number', waitMs, () => {
        if (strangers.at(-1)?.inodeUrl !== inodeUrl) strangers.push(createNetworkNamespace());
        expect(strangers.at(-1)?.inodeUrl).toBe(inodeUrl);
      });
      const stranger = strangers.at(-1) as ReturnType<typeof createNetworkNamespace>;

      const back = await startSecond(mesh(), node, name);
      await expectServing(mesh(), node, name);
      expect(await interfacesOf(netlink, stranger)).toEqual([]);
      expect((await traces()).join('\n')).not.toContain(name);
      for (const each of strangers) each.close();
      await back.stop(10_000);
    },
    testTimeoutMs,
  );
});
