// Protects the end of an Endpoint: its clients see it, nobody gets a wire to it any more, and once its clients have
// closed, no forwarder holds anything of it; one that dies is soon out of the registry; where another Endpoint offers the service, the wire moves there.

import { expect, test } from 'vitest';

import { withMesh } from '../../bin/inspect/mesh-client.ts';
import { describeError } from '../../protocols/errors.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh } from '../sandbox/mesh.ts';
import { addressesOf, expectPings, interfacesOf } from '../sandbox/mesh-probes.ts';

describeMesh('an Endpoint ends', (mesh) => {
  test.each(['near', 'far'] as const)('by unregistering, %s its client', async (where) => {
    const { processes, workloads, nodes, namespace, traces, netlink } = mesh();
    const service = `ending-${where}`;
    const endpoint = {
      name: `server-${where}`,
      node: nodes[where === 'near' ? 0 : 1],
      namespace: namespace(),
    };
    const child = await processes.startEndpoint(endpoint, {
      NSM_SERVICE_NAMES: service,
      NSM_CIDR_PREFIX: '172.16.1.0/24',
    });
    const client = await workloads.client({
      node: nodes[0],
      services: `kernel://${service}/nsm-1`,
    });
    const [address = ''] = addressesOf(await client.connection()).endpoint;
    await expectPings(client.namespace, address);

    expect(await child.stop(10_000)).toEqual({ code: 0, signal: null });
    await eventually('the client sees it', 10_000, () =>
      expect(client.statuses[0]).toMatchObject({ phase: 'healing', lastError: expect.anything() }),
    );
    const caller = await workloads.caller(nodes[0]);
    const refusal = await caller.request({ service }).then(
      () => expect.fail('the Request was granted'),
      (error: unknown) => describeError(error),
    );
    expect(refusal).toMatch(new RegExp(`NOT_FOUND.*no Endpoint of ${service}`, 's'));

    await client.stop();
    expect(await traces()).toEqual([]);
    expect(await interfacesOf(netlink, client.namespace)).toEqual([]);
    expect(await interfacesOf(netlink, endpoint.namespace)).toEqual([]);
  });

  test.each(['near', 'far'] as const)(
    'by its death, %s its client, with another one there: the wire moves',
    async (where) => {
      const { processes, workloads, nodes, namespace, traces, netlink } = mesh();
      const service = `replaced-${where}`;
      const workload = {
        name: `dying-${where}`,
        node: nodes[where === 'near' ? 0 : 1],
        namespace: namespace(),
      };
      const child = await processes.startEndpoint(workload, {
        NSM_SERVICE_NAMES: service,
        NSM_CIDR_PREFIX: '172.16.1.0/24',
      });
      const client = await workloads.client({
        node: nodes[0],
        services: `kernel://${service}/nsm-1`,
      });
      const first = await client.connection();
      const before = await interfacesOf(netlink, client.namespace);
      const other = await workloads.endpoint({
        node: nodes[where === 'near' ? 1 : 0],
        services: [service],
        cidr: [['172.16.1.0/24']],
      });
      child.kill('SIGKILL');
      await child.exited;
      await eventually('the client has a wire to the other one', 15_000, () =>
        expect(client.statuses[0]).toMatchObject({
          phase: 'established',
          connection: { networkServiceEndpointName: other.name },
        }),
      );
      await eventually('no registry lists the dead one', 10_000, async () => {
        const listed = await withMesh(processes.socketOf(nodes[0]), (asked) => asked.endpoints());
        expect(listed.map(({ name }) => name)).not.toContain(workload.name);
      });
      const next = await client.connection();
      expect(addressesOf(next)).toEqual(addressesOf(first));
      expect(await interfacesOf(netlink, client.namespace)).toEqual(before);
      for (const address of addressesOf(next).endpoint) {
        await expectPings(client.namespace, address);
      }
      // The old end is left once the client has its answer.
      await eventually('the dead one holds no end any more', 5_000, async () =>
        expect(await interfacesOf(netlink, workload.namespace)).toEqual([]),
      );
      await client.stop();
      await eventually('no hop holds anything of it', 5_000, async () =>
        expect(await traces()).toEqual([]),
      );
    },
  );
});
