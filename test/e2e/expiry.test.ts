// Protects what becomes of a live wire whose managers stand still for longer than its tokens live. Kept while it is
// alive, it loses no packet, and is the same when they are back; one that carries nothing is closed. By default it is
// closed, as the reference does.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import { connectionView } from '../../bin/inspect/connection-view.ts';
import { withMesh } from '../../bin/inspect/mesh-client.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import {
  expectPings,
  interfacesOf,
  startGapPing,
  startSteadyPing,
} from '../sandbox/mesh-probes.ts';

const lifetime = { NSM_MAX_TOKEN_LIFETIME: '6s' };
/** Each period is as long as the life that was left when it came up, 5 s at least. */
const limitMs = 40_000;
const places = ['near', 'far'] as const;

/** A client and an Endpoint, processes both. */
async function connect({ processes, nodes, namespace }: TestMesh, where: 'near' | 'far') {
  const service = `expiring-${where}`;
  const endpoint = {
    name: `server-${where}`,
    node: nodes[where === 'near' ? 0 : 1],
    namespace: namespace(),
  };
  await processes.startEndpoint(endpoint, {
    NSM_SERVICE_NAMES: service,
    NSM_CIDR_PREFIX: '172.16.1.0/24',
  });
  const client = { name: `client-${where}`, node: nodes[0], namespace: namespace() };
  await processes.startClient(client, { NSM_NETWORK_SERVICES: `kernel://${service}/nsm-1` });
  const report = await processes.clients.connected(client.name, 15_000);
  const [address = ''] = (report.peerAddresses ?? []).map((cidr) => cidr.split('/')[0] ?? '');
  await expectPings(client.namespace, address);
  return { client, endpoint, address };
}

/** The managers stand still meanwhile. */
async function withoutManagers({ processes }: TestMesh, during: () => Promise<void>) {
  const pids = ['node-1/nsmgr', 'node-2/nsmgr'].map((name) => {
    const { pid } = processes.supervised.get(name) ?? expect.fail(`${name} was never reported`);
    return pid;
  });
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  try {
    await during();
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT');
  }
}

/** For how many periods the forwarder of the first node has kept wires so far, over all of its connections. */
function keptPeriods({ stateDir }: TestMesh): number {
  const log = readFileSync(join(stateDir, 'node-1', 'forwarder.log'), 'utf8');
  return log.split('\n').filter((line) => line.includes('kept beyond its expiry')).length;
}

const kept = { ...lifetime, VWIRE_EXPIRY: 'keep-while-alive' };

describeMesh(
  'a wire that is kept while it is alive',
  (mesh) => {
    test.each(places)(
      'outlives its expiry, and its forwarder killed meanwhile, Endpoint %s',
      async (where) => {
        const { netlink, processes } = mesh();
        const { client, endpoint, address } = await connect(mesh(), where);
        const before = await interfacesOf(netlink, client.namespace);
        const pings = await startSteadyPing(client.namespace, address);
        await withoutManagers(mesh(), async () => {
          const start = keptPeriods(mesh());
          const keptFor = (periods: number) =>
            eventually(`it was kept for ${periods} periods`, limitMs, () =>
              expect(keptPeriods(mesh()) - start).toBeGreaterThanOrEqual(periods),
            );
          await keptFor(1);
          const forwarder = processes.supervised.get('node-1/forwarder');
          process.kill(forwarder?.pid ?? expect.fail('it was never reported'), 'SIGKILL');
          await keptFor(3);
          expect(await interfacesOf(netlink, endpoint.namespace)).toHaveLength(1);
        });
        await eventually('it is refreshed as before', limitMs, async () => {
          const shown = await withMesh(processes.socketOf(client.node), async (asked) => {
            const details = await asked.connectionDetails();
            const all = await asked.connections();
            return all.map((each) => connectionView(each, details.get(each.id), Date.now()));
          });
          expect(shown.map(({ state, keptPeriods: periods }) => [state, periods])).toEqual([
            ['UP', 0],
          ]);
          expect(processes.clients.of(client.name).map(({ event }) => event)).toEqual([
            'established',
          ]);
        });
        const { sent, received } = await pings.stop();
        expect(sent).toBeGreaterThan(5_000);
        expect(sent - received, `lost of ${sent}`).toBe(0);
        expect(await interfacesOf(netlink, client.namespace)).toEqual(before);
      },
      240_000,
    );

    test('is closed where it carries nothing', async () => {
      const { netlink, processes } = mesh();
      const { client, endpoint } = await connect(mesh(), 'near');
      const child = processes.processes.get(client.name);
      child?.kill('SIGKILL');
      await child?.exited;
      await eventually('nothing is left of it', limitMs, async () => {
        expect(await interfacesOf(netlink, client.namespace)).toEqual([]);
        expect(await interfacesOf(netlink, endpoint.namespace)).toEqual([]);
        expect(await mesh().traces()).toEqual([]);
      });
    }, 240_000);
  },
  { env: kept },
);

describeMesh(
  'a wire that nobody refreshes, by default',
  (mesh) => {
    test('is closed when it expires, though it carries packets', async () => {
      const { netlink } = mesh();
      const { client, endpoint, address } = await connect(mesh(), 'near');
      const pings = await startGapPing(client.namespace, address);
      await withoutManagers(mesh(), () =>
        eventually('it is gone', limitMs, async () => {
          expect(await interfacesOf(netlink, client.namespace)).toEqual([]);
          expect(await interfacesOf(netlink, endpoint.namespace)).toEqual([]);
        }),
      );
      const { sent, received } = await pings.stop();
      expect(received).toBeLessThan(sent);
    }, 240_000);
  },
  { env: lifetime },
);
