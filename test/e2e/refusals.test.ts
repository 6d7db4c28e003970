// Protects refusals: what cannot be is refused with an error that says why, and it leaves no trace; a client that goes
// away in the middle of its first Request leaves none either.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import { describeError } from '../../protocols/errors.ts';
import { createVeth } from '../../protocols/netlink/link.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import { expectPingsBothWays, interfacesOf } from '../sandbox/mesh-probes.ts';

/** The text of the refusal; fails where the Request is granted. */
const refusalOf = (request: Promise<unknown>): Promise<string> =>
  request.then(
    () => expect.fail('the Request was granted'),
    (error: unknown) => describeError(error),
  );

const endpointOn = (mesh: TestMesh, where: 'near' | 'far', service: string) =>
  mesh.workloads.endpoint({
    node: mesh.nodes[where === 'near' ? 0 : 1],
    services: [service],
    cidr: [['172.16.1.0/31']],
  });

describeMesh('a Request that cannot be granted', (mesh) => {
  test.each(['near', 'far'] as const)(
    'an interface name longer than 15 bytes, Endpoint %s',
    async (where) => {
      const endpoint = await endpointOn(mesh(), where, 'named');
      const caller = await mesh().workloads.caller(mesh().nodes[0]);
      const refused = caller.request({ service: 'named', interfaceName: 'sixteen-bytes-ab' });
      const text = await refusalOf(refused);
      expect(text).toMatch(/INVALID_ARGUMENT.*15 bytes.*sixteen-bytes-ab/s);
      expect(await mesh().traces()).toEqual([]);
      // The one lease of the pool is free again.
      const granted = await caller.request({ service: 'named', interfaceName: 'fifteen-bytes-a' });
      await expectPingsBothWays(granted, caller.namespace, endpoint.namespace);
    },
  );

  test('a client whose configuration names too long an interface ends and says so', async () => {
    const { processes, nodes, namespace, stateDir } = mesh();
    const client = { name: 'misnamed', node: nodes[0], namespace: namespace() };
    const started = processes.startClient(client, {
      NSM_NETWORK_SERVICES: 'kernel://named/sixteen-bytes-ab',
    });
    expect(await refusalOf(started)).toContain('exit code 64');
    const log = readFileSync(join(stateDir, 'misnamed', 'misnamed.log'), 'utf8');
    expect(log).toMatch(/15 bytes.*sixteen-bytes-ab/s);
  });

  test.each(['near', 'far'] as const)(
    'an interface name that the workload has given away, Endpoint %s',
    async (where) => {
      const { netlink, nodes, workloads, traces } = mesh();
      const endpoint = await endpointOn(mesh(), where, 'taken');
      const caller = await workloads.caller(nodes[0]);
      const peer = { name: 'nsm-1-peer' };
      const request = {
        message: createVeth({ name: 'nsm-1', group: 0, mtu: 1400, peer }),
        what: 'make a foreign interface',
      };
      const { url } = caller.namespace;
      await netlink.execute([{ namespace: url, protocol: 'route', requests: [request] }], {
        timeoutMs: 5_000,
      });
      const before = await interfacesOf(netlink, caller.namespace);
      expect(before).toHaveLength(2);
      expect(await refusalOf(caller.request({ service: 'taken' }))).toMatch(
        /ALREADY_EXISTS.*nsm-1.*taken/s,
      );
      expect(await interfacesOf(netlink, caller.namespace)).toEqual(before);
      expect(await traces()).toEqual([]);
      const granted = await caller.request({ service: 'taken', interfaceName: 'nsm-2' });
      await expectPingsBothWays(granted, caller.namespace, endpoint.namespace);
    },
  );

  test('a service that nobody offers', async () => {
    const caller = await mesh().workloads.caller(mesh().nodes[0]);
    const text = await refusalOf(caller.request({ service: 'nobody-offers-this' }));
    expect(text).toMatch(/NOT_FOUND.*nobody-offers-this/s);
  });

  test.each(['near', 'far'] as const)(
    'a client that dies during its first Request leaves nothing, Endpoint %s',
    async (where) => {
      const { nodes, workloads, processes, namespace, traces, netlink } = mesh();
      let arrived: () => void = () => {};
      const arrival = new Promise<void>((resolve) => (arrived = resolve));
      let release: () => void = () => {};
      const held = new Promise<void>((resolve) => (release = resolve));
      const endpoint = await workloads.endpoint({
        node: nodes[where === 'near' ? 0 : 1],
        services: ['slow'],
        cidr: [['172.16.1.0/31']],
        async onRequest(connection) {
          arrived();
          await held;
          return connection;
        },
      });
      const client = { name: `dying-${where}`, node: nodes[0], namespace: namespace() };
      const child = await processes.startClient(client, {
        NSM_NETWORK_SERVICES: 'kernel://slow/nsm-1',
      });
      await arrival;
      child.kill('SIGKILL');
      await child.exited;
      release();
      const next = await workloads.caller(nodes[0]);
      const granted = await eventually('the only lease is free', 5_000, () =>
        next.request({ service: 'slow' }),
      );
      expect(await interfacesOf(netlink, client.namespace)).toEqual([]);
      expect(await interfacesOf(netlink, endpoint.namespace)).toHaveLength(1);
      await expectPingsBothWays(granted, next.namespace, endpoint.namespace);
      await next.close(granted);
      expect(await traces()).toEqual([]);
    },
  );
});
