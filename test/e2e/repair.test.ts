// Protects live wires from whoever changes them by hand: each kind of harm, done from outside while 1,000 packets a
// second run, is put right by itself and soon; traffic goes on, the client's interface is the same one where its veth was
// not destroyed, and no other wire is touched. What the workload does to its own interface stays.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import type { MeshNode } from '../../bin/demo/mesh.ts';
import { addAddress } from '../../protocols/netlink/address.ts';
import type { EncodedMessage } from '../../protocols/netlink/codec.ts';
import { parsePrefix } from '../../protocols/netlink/ip-address.ts';
import { changeLinkByName, deleteLinkByName } from '../../protocols/netlink/link.ts';
import { eventually } from '../sandbox/eventually.ts';
import { harmWire, type KernelHarm } from '../sandbox/harm-wire.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import {
  addressesOf,
  expectPingsBothWays,
  interfacesOf,
  startSteadyPing,
} from '../sandbox/mesh-probes.ts';

interface Deed {
  readonly harm: KernelHarm;
  readonly side: 'client' | 'endpoint';
  /** The client's interface goes with its veth, and comes back as it was but for its index. */
  readonly takesInterface?: true;
}

const local: readonly Deed[] = [
  { harm: 'filterless', side: 'client' },
  { harm: 'unjoined', side: 'endpoint' },
  { harm: 'down', side: 'client' },
  { harm: 'renamed', side: 'client' },
  { harm: 'untagged', side: 'client' },
  { harm: 'deleted', side: 'endpoint' },
  { harm: 'deleted', side: 'client', takesInterface: true },
];
const remote: readonly Deed[] = [
  { harm: 'remoteless', side: 'endpoint' },
  { harm: 'unfiltered', side: 'endpoint' },
  { harm: 'deleted', side: 'endpoint' },
  { harm: 'down', side: 'endpoint' },
  { harm: 'filterless', side: 'endpoint' },
];

/** A client of the first node with a wire to an Endpoint, pinged all the time. */
async function liveWire({ workloads, nodes }: TestMesh, where: 'near' | 'far', lane: string) {
  const service = `${lane}-${where}`;
  const node = nodes[where === 'near' ? 0 : 1];
  const endpoint = await workloads.endpoint({
    node,
    services: [service],
    cidr: [['172.16.1.0/24']],
  });
  const client = await workloads.client({ node: nodes[0], services: `kernel://${service}/nsm-1` });
  const connection = await client.connection();
  const [address = ''] = addressesOf(connection).endpoint;
  const steady = await startSteadyPing(client.namespace, address);
  return { endpoint, client, connection, steady };
}

function placeOf({ netlink }: TestMesh, node: MeshNode) {
  return { netlink, node: node.namespace.url };
}

describeMesh('a wire that somebody harms', (mesh) => {
  test.each([
    ['near', local],
    ['far', remote],
  ] as const)(
    'is put right, Endpoint %s',
    async (where, deeds) => {
      const { netlink, nodes, traces } = mesh();
      const harmed = await liveWire(mesh(), where, 'harmed');
      const other = await liveWire(mesh(), where, 'other');
      const before = (await traces()).toSorted();
      const otherBefore = await interfacesOf(netlink, other.client.namespace);
      const place = placeOf(mesh(), nodes[0]);
      // The node-side wire carries the forwarder's own segment as its id.
      const id = harmed.connection.path?.pathSegments[2]?.id ?? '';
      for (const { harm, side, takesInterface } of deeds) {
        const [seen] = await interfacesOf(netlink, harmed.client.namespace);
        await harmWire(place, harm, { wire: { id }, side });
        await eventually(`${harm} at the ${side} is put right`, 20_000, async () => {
          expect((await traces()).toSorted()).toEqual(before);
          await expectPingsBothWays(
            harmed.connection,
            harmed.client.namespace,
            harmed.endpoint.namespace,
          );
        });
        const index = takesInterface ? { index: expect.any(Number) } : {};
        expect(await interfacesOf(netlink, harmed.client.namespace)).toEqual([
          { ...seen, ...index },
        ]);
        expect(harmed.client.statuses[0]?.phase).toBe('established');
      }
      const { sent, received } = await harmed.steady.stop();
      expect(received).toBeGreaterThan(sent / 2);
      const untouched = await other.steady.stop();
      expect(untouched.sent - untouched.received, 'lost on the other wire').toBe(0);
      expect(await interfacesOf(netlink, other.client.namespace)).toEqual(otherBefore);
      await harmed.client.stop();
      await other.client.stop();
      expect(await traces()).toEqual([]);
      expect(repairsIn(mesh())).toBeGreaterThanOrEqual(deeds.length);
    },
    180_000,
  );
});

describeMesh(
  'what a workload does to its own interface',
  (mesh) => {
    test('stays, but for an interface that it deletes while it lives', async () => {
      const { netlink, traces } = mesh();
      const wire = await liveWire(mesh(), 'near', 'own');
      const { client, endpoint, connection } = wire;
      const { url } = client.namespace;
      const run = async (message: EncodedMessage): Promise<void> => {
        const requests = [{ message, what: 'change the own interface' }];
        const step = { namespace: url, protocol: 'route', requests } as const;
        expect(await netlink.execute([step], { timeoutMs: 5_000 })).toMatchObject({ ok: true });
      };
      const [before] = await interfacesOf(netlink, client.namespace);
      await run(addAddress(before?.index ?? 0, parsePrefix('192.0.2.1/32')));
      await run(changeLinkByName('nsm-1', { isUp: false }));
      // Several looks over all wires go by.
      const looks = looksIn(mesh());
      await eventually('some looks', 30_000, () =>
        expect(looksIn(mesh())).toBeGreaterThan(looks + 2),
      );
      expect(await interfacesOf(netlink, client.namespace)).toMatchObject([
        { index: before?.index, isUp: false, addresses: expect.arrayContaining(['192.0.2.1/32']) },
      ]);
      await run(changeLinkByName('nsm-1', { isUp: true }));
      await run(deleteLinkByName('nsm-1'));
      await eventually('the interface is there again', 10_000, async () =>
        expect(await interfacesOf(netlink, client.namespace)).toEqual([
          { ...before, index: expect.any(Number) },
        ]),
      );
      await expectPingsBothWays(connection, client.namespace, endpoint.namespace);
      await wire.steady.stop();
      await client.stop();
      expect(await traces()).toEqual([]);
    }, 240_000);
  },
  { env: { VWIRE_RECONCILE_INTERVAL: '1s', NSM_LOG_LEVEL: 'debug' } },
);

function logLines({ stateDir }: TestMesh): readonly string[] {
  const logs = readdirSync(stateDir, { recursive: true, encoding: 'utf8' });
  return logs
    .filter((name) => name.endsWith('forwarder.log'))
    .flatMap((name) => readFileSync(join(stateDir, name), 'utf8').split('\n'));
}

const count = (mesh: TestMesh, text: string): number =>
  logLines(mesh).filter((line) => line.includes(text)).length;
const repairsIn = (mesh: TestMesh): number => count(mesh, 'has been repaired');
const looksIn = (mesh: TestMesh): number => count(mesh, 'looked over all wires');
