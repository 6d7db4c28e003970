// Protects what lives beside each other on one machine: two installations on the same nodes, two forwarders on one
// node, and links and tables that are not vwire's at all. None of them touches, or suffers from, what is not its own.

import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';

import type { MeshNode } from '../../bin/demo/mesh.ts';
import { linksOf } from '../../bin/demo/namespace-links.ts';
import {
  changeLinkByName,
  createBridge,
  createVeth,
  createVxlan,
  deleteLinkByName,
} from '../../protocols/netlink/link.ts';
import { parseIp } from '../../protocols/netlink/ip-address.ts';
import { deleteTable, ensureInputChain, ensureTable } from '../../protocols/netlink/nftables.ts';
import {
  MatchSchema,
  MetadataSchema,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import type { NetlinkStep } from '../../protocols/ports/netlink.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh, type Installation, type TestMesh } from '../sandbox/mesh.ts';
import {
  addressesOf,
  expectPingsBothWays,
  interfacesOf,
  startSteadyPing,
} from '../sandbox/mesh-probes.ts';

/** A client on the first node with a wire to an Endpoint on the node given, pinged all the time. */
async function liveWire(
  { workloads }: Installation,
  options: {
    readonly nodes: readonly [MeshNode, MeshNode];
    readonly where: 'near' | 'far';
    readonly service?: string;
  },
) {
  const { nodes, where, service = `service-${where}` } = options;
  const endpoint = await workloads.endpoint({
    node: nodes[where === 'near' ? 0 : 1],
    services: [service],
    cidr: [['172.16.1.0/24']],
    registerService: options.service === undefined,
  });
  const client = await workloads.client({ node: nodes[0], services: `kernel://${service}/nsm-1` });
  const connection = await client.connection();
  const [address = ''] = addressesOf(connection).endpoint;
  const steady = await startSteadyPing(client.namespace, address);
  return { endpoint, client, connection, steady };
}

const places = ['near', 'far'] as const;

/** To an Endpoint on each node. */
async function liveWires(
  installation: Installation,
  nodes: readonly [MeshNode, MeshNode],
  lane?: string,
) {
  const wires: Awaited<ReturnType<typeof liveWire>>[] = [];
  for (const where of places) {
    const service = lane === undefined ? {} : { service: `${lane}-${where}` };
    wires.push(await liveWire(installation, { nodes, where, ...service }));
  }
  return wires;
}

async function expectNoneLost(
  wires: readonly { readonly steady: Awaited<ReturnType<typeof startSteadyPing>> }[],
): Promise<void> {
  for (const { steady } of wires) {
    const { sent, received } = await steady.stop();
    expect(sent).toBeGreaterThan(300);
    expect(sent - received, `lost of ${sent}`).toBe(0);
  }
}

/** Traces of one installation: tags name it, everything else is told apart by what the other has. */
const tracesOf = async (mesh: TestMesh, installation: string) =>
  (await mesh.traces()).filter((line) => line.includes(` i=${installation} `));

describeMesh('neighbours', (mesh) => {
  test('two installations on the same nodes leave each other alone', async () => {
    const { nodes, traces, addInstallation } = mesh();
    const ours = await liveWires(mesh(), nodes);
    const oursAlone = await traces();
    const other = await addInstallation('neighbour', 4223);
    expect(await traces()).toEqual(oursAlone);
    const theirs = await liveWires(other, nodes);
    const both = await traces();
    expect(await tracesOf(mesh(), 'neighbour')).toHaveLength(6);
    expect(both).toEqual(expect.arrayContaining([...oursAlone]));

    // Stopped, an installation leaves its wires to its next life; nobody else clears them away.
    await other.processes.stop();
    expect(await traces()).toEqual(both);
    const caller = await mesh().workloads.caller(nodes[0]);
    await caller.close(await caller.request({ service: 'service-far' }));
    expect(await traces()).toEqual(both);

    await other.processes.startBus();
    await other.processes.startRegistry();
    await Promise.all(nodes.map((node) => other.processes.startNode(node)));
    await eventually('the other installation serves again', 20_000, async () => {
      const next = await other.workloads.caller(nodes[0]);
      await next.close(await next.request({ service: 'service-far', timeoutMs: 3_000 }));
    });
    for (const { client } of theirs) {
      await eventually('its clients are content', 20_000, () =>
        expect(client.statuses[0]?.phase).toBe('established'),
      );
    }
    await expectNoneLost(theirs);
    for (const { client } of theirs) await client.stop();
    expect(await traces()).toEqual(oursAlone);
    await expectNoneLost(ours);
    for (const { client } of ours) expect(client.statuses[0]?.phase).toBe('established');
  }, 240_000);

  test('a forwarder that is killed concerns no wire of the other one on its node', async () => {
    const { nodes, workloads, processes, name: domain, traces } = mesh();
    const [near, far] = nodes;
    const startSecond = (node: MeshNode) =>
      processes.start({
        kind: 'node',
        name: `${node.name}-b`,
        role: ['forwarder'],
        namespace: node.namespace,
        env: {
          NSM_NAME: `forwarder-b-${node.name}`,
          NSM_LISTEN_ON: `nats://${domain}/${node.name}/forwarder-b`,
          NSM_CONNECT_TO: `nats://${domain}/${node.name}/nsmgr`,
          NSM_TUNNEL_IP: node.tunnelIp,
          NSM_LABELS: 'lane:b',
          VWIRE_NODE: node.name,
        },
      });
    const first = await startSecond(near);
    const farSecond = await startSecond(far);
    const lanes = { 'lane-a': { p2p: 'true' }, 'lane-b': { lane: 'b' } };
    for (const [lane, labels] of Object.entries(lanes)) {
      const metadata = create(MetadataSchema, { labels });
      for (const where of places) {
        await workloads.registerService(
          near,
          create(NetworkServiceSchema, {
            name: `${lane}-${where}`,
            payload: 'IP',
            matches: [create(MatchSchema, { metadata })],
          }),
        );
      }
    }
    const onA = await liveWires(mesh(), nodes, 'lane-a');
    const onB = await liveWires(mesh(), nodes, 'lane-b');
    for (const { connection } of onB) {
      expect(connection.path?.pathSegments[2]?.name).toBe('forwarder-b-node-1');
    }
    for (const { connection } of onA) {
      expect(connection.path?.pathSegments[2]?.name).toBe('forwarder-node-1');
    }
    const before = await traces();

    first.kill('SIGKILL');
    await first.exited;
    await eventually('the clients of the killed forwarder see it', 10_000, () => {
      for (const { client } of onB) expect(client.statuses[0]?.phase).toBe('healing');
    });
    for (const { client } of onA) expect(client.statuses[0]?.phase).toBe('established');
    expect(await traces()).toEqual(before);
    const caller = await workloads.caller(near);
    await caller.close(await caller.request({ service: 'lane-a-near' }));

    const second = await startSecond(near);
    for (const { client, connection, endpoint } of onB) {
      await eventually('its clients are content again', 20_000, () =>
        expect(client.statuses[0]?.phase).toBe('established'),
      );
      await expectPingsBothWays(connection, client.namespace, endpoint.namespace);
    }
    await expectNoneLost([...onA, ...onB]);
    await workloads.end();
    expect(await traces()).toEqual([]);
    await Promise.all([second.stop(10_000), farSecond.stop(10_000)]);
  }, 240_000);

  test('links and tables of others stay as they are', async () => {
    const { nodes, netlink, workloads, traces } = mesh();
    const [near, far] = nodes;
    const foreign = foreignObjects(near);
    const outcome = await netlink.execute(foreign, { timeoutMs: 5_000 });
    if (!outcome.ok) expect.fail(`${outcome.failure.what}: ${outcome.failure.found}`);
    const linksNow = async () =>
      (await linksOf(netlink, near.namespace.url)).map((link) => ({
        ...link,
        counters: undefined,
      }));
    const before = await linksNow();
    const left = await traces();
    expect(left.join('\n')).toMatch(/vwire\/1 i=somebody-else/);

    for (const node of [near, far]) {
      const service = `beside-${node.name}`;
      const endpoint = await workloads.endpoint({
        node,
        services: [service],
        cidr: [['172.16.1.0/24']],
      });
      const caller = await workloads.caller(near);
      const known = await caller.request({ service });
      const again = await caller.request({ service, known });
      await expectPingsBothWays(again, caller.namespace, endpoint.namespace);
      await caller.close(again);
      expect(await interfacesOf(netlink, caller.namespace)).toEqual([]);
    }
    expect(await linksNow()).toEqual(before);
    expect(await traces()).toEqual(left);
    // Each of them must be there to be removed.
    const removal = await netlink.execute(removeForeignObjects(near), { timeoutMs: 5_000 });
    if (!removal.ok) expect.fail(`${removal.failure.what}: ${removal.failure.found}`);
  });
});

type Message = NetlinkStep['requests'][number]['message'];

function steps(
  { namespace: { url: namespace } }: MeshNode,
  links: readonly Message[],
  tables: readonly Message[],
): readonly NetlinkStep[] {
  const named = (messages: readonly Message[]) =>
    messages.map((message, index) => ({ message, what: `change foreign object ${index}` }));
  return [
    { namespace, protocol: 'route', requests: named(links) },
    { namespace, protocol: 'netfilter', requests: named(tables) },
  ];
}

/** What others may have: interfaces of several kinds, one with a tag like ours, one with a name like ours, a table. */
function foreignObjects(node: MeshNode): readonly NetlinkStep[] {
  const local = parseIp(node.tunnelIp);
  const alias = 'vwire/1 i=somebody-else f=forwarder-node-1 w=theirs e=client n=nsm-1 done';
  return steps(
    node,
    [
      createVeth({ name: 'docker0a', group: 0, mtu: 1500, peer: { name: 'docker0b' } }),
      createVeth({ name: 'vw-alike', group: 0, mtu: 1500, peer: { name: 'vwpeer' } }),
      createBridge({ name: 'br-foreign', group: 7 }),
      createVxlan({ name: 'vx-foreign', group: 0, mtu: 1400, vni: 42, local, port: 8472 }),
      changeLinkByName('docker0a', { isUp: true, alias }),
    ],
    [ensureTable('foreign'), ensureInputChain('foreign', 'input', 0)],
  );
}

function removeForeignObjects(node: MeshNode): readonly NetlinkStep[] {
  const names = ['docker0a', 'vw-alike', 'br-foreign', 'vx-foreign'];
  return steps(
    node,
    names.map((name) => deleteLinkByName(name)),
    [deleteTable('foreign')],
  );
}
