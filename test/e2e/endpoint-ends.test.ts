// Protects the end of an Endpoint: its clients see it, nobody gets a wire to it any more, and once its clients have
// closed, no forwarder holds anything of it.

import { expect, test } from 'vitest';

import { describeError } from '../../protocols/errors.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh } from '../sandbox/mesh.ts';
import { addressesOf, expectPings, interfacesOf } from '../sandbox/mesh-probes.ts';

describeMesh('an Endpoint that unregisters', (mesh) => {
  test.each(['near', 'far'] as const)('%s its client', async (where) => {
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
});
