// Protects an Endpoint's clients from its process: killed and started again in its living namespace it costs no packet and
// no address, neither of those who are connected nor of those who were away; gone, its clients carry what the next one's
// policy says, and all of it answers; one that nobody needs ends by itself.

import { expect, test } from 'vitest';

import type { Environment } from '../../bin/demo/mesh.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh } from '../sandbox/mesh.ts';
import { addressesOf, expectPings, interfacesOf, startSteadyPing } from '../sandbox/mesh-probes.ts';

describeMesh('an Endpoint process', (mesh) => {
  test.each(['near', 'far'] as const)(
    'killed and started again, %s its client: nothing is lost, and everybody has their address',
    async (where) => {
      const { processes, workloads, nodes, namespace, netlink } = mesh();
      const service = `restarting-${where}`;
      const workload = {
        name: `restarting-${where}`,
        node: nodes[where === 'near' ? 0 : 1],
        namespace: namespace(),
      };
      const env: Environment = { NSM_SERVICE_NAMES: service, NSM_CIDR_PREFIX: '172.16.1.0/24' };
      const child = await processes.startEndpoint(workload, env);
      const services = `kernel://${service}/nsm-1`;
      const [away, client] = [
        await workloads.client({ node: nodes[0], services }),
        await workloads.client({ node: nodes[0], services }),
      ];
      const [left, held] = [await away.connection(), await client.connection()];
      await away.stop();
      const before = await interfacesOf(netlink, client.namespace);
      const steady = await startSteadyPing(client.namespace, addressesOf(held).endpoint[0] ?? '');

      child.kill('SIGKILL');
      await child.exited;
      await processes.startEndpoint(workload, env);
      await eventually('the client is content', 20_000, () =>
        expect(client.statuses[0]?.phase).toBe('established'),
      );
      // Of the same name as the one that left, in a namespace of its own: its next life.
      const caller = await workloads.caller(nodes[0]);
      const stranger = await eventually('a new wire', 20_000, () =>
        caller.request({ service, timeoutMs: 3_000 }),
      );
      expect(addressesOf(stranger).client).not.toEqual(addressesOf(left).client);
      const back = await workloads.client({ node: nodes[0], services, name: away.name });
      expect(addressesOf(await back.connection())).toEqual(addressesOf(left));
      await expectPings(back.namespace, addressesOf(left).endpoint[0] ?? '');

      const { sent, received } = await steady.stop();
      expect(sent).toBeGreaterThan(300);
      expect(sent - received, `lost of ${sent}`).toBe(0);
      expect(addressesOf(await client.connection())).toEqual(addressesOf(held));
      expect(await interfacesOf(netlink, client.namespace)).toEqual(before);
      await caller.close(stranger);
      await Promise.all([client.stop(), back.stop()]);
    },
    240_000,
  );

  test.each([
    ['polite', ['172.16.1.1', '172.16.2.1']],
    ['strict', ['172.16.2.1']],
  ] as const)(
    'gone, with another prefix at the next one, which is %s: what the client carries answers',
    async (policy, expected) => {
      const { processes, workloads, nodes, namespace, netlink } = mesh();
      const service = `moving-${policy}`;
      const start = (name: string, prefix: string) => {
        const workload = { name: `${name}-${policy}`, node: nodes[1], namespace: namespace() };
        return processes.startEndpoint(workload, {
          NSM_SERVICE_NAMES: service,
          NSM_CIDR_PREFIX: prefix,
          NSM_IPAM_POLICY: policy,
        });
      };
      const first = await start('first', '172.16.1.0/24');
      const services = `kernel://${service}/nsm-1`;
      const client = await workloads.client({ node: nodes[0], services });
      await client.connection();
      await start('next', '172.16.2.0/24');
      first.kill('SIGKILL');
      await eventually('the client is at the next one', 20_000, async () => {
        const { networkServiceEndpointName } = await client.connection();
        expect(networkServiceEndpointName).toBe(`next-${policy}`);
      });
      const { client: carried, endpoint } = addressesOf(await client.connection());
      expect(carried).toEqual(expected);
      const [held] = await interfacesOf(netlink, client.namespace);
      for (const address of expected) expect(JSON.stringify(held)).toContain(address);
      for (const address of endpoint) await expectPings(client.namespace, address);
      await client.stop();
    },
    240_000,
  );

  test('with an idle time ends by itself once its last client has left', async () => {
    const { processes, workloads, nodes, namespace } = mesh();
    const service = 'idling';
    const child = await processes.startEndpoint(
      { name: 'idling', node: nodes[0], namespace: namespace() },
      { NSM_SERVICE_NAMES: service, NSM_CIDR_PREFIX: '172.16.1.0/24', NSM_IDLE_TIMEOUT: '3s' },
    );
    const client = await workloads.client({
      node: nodes[0],
      services: `kernel://${service}/nsm-1`,
    });
    await client.connection();
    await client.stop();
    expect(await child.exited).toEqual({ code: 0, signal: null });
  }, 240_000);
});
