// Protects policy-based routes after each heal (the reference's battery of that name), with datagrams that follow them:
// after a change of the file, a restart of the forwarder, the Endpoint and the client, and a reselect, rules and
// tables in the client's namespace are right, and at the end none is left.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../sandbox/eventually.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import { noPolicies, type PolicyFacts, policyFacts } from '../sandbox/policy-facts.ts';
import { addLoopbackAddress, askUdpEcho, startUdpEcho } from '../sandbox/udp-echo.ts';

const limitMs = 20_000;
const first = { name: 'policed-far', from: '172.16.8.200', sink: '10.99.0.1' };
const second = { name: 'policed-near', from: '172.16.8.77', sink: '10.99.0.1' };

const config = (from: string, prefixes: readonly string[]): string =>
  [
    `- from: ${from}/32`,
    '  proto: 17',
    '  dstport: 7777',
    '  routes:',
    ...prefixes.map((prefix) => `  - prefix: ${prefix}`),
    '',
  ].join('\n');

function configFile({ stateDir }: TestMesh, name: string): string {
  mkdirSync(join(stateDir, name), { recursive: true });
  return join(stateDir, name, 'policies.yaml');
}

async function killForwarder({ processes }: TestMesh): Promise<void> {
  const victim = processes.supervised.get('node-1/forwarder');
  if (victim === undefined) expect.fail('the forwarder was never reported');
  process.kill(victim.pid, 'SIGKILL');
  await eventually('the forwarder is started again', limitMs, () =>
    expect(processes.supervised.get('node-1/forwarder')?.pid).not.toBe(victim.pid),
  );
}

describeMesh('policy routes', (mesh) => {
  test('are right after each heal, carry traffic, and leave nothing', async () => {
    const { processes, nodes, namespace, netlink, traces } = mesh();
    const service = 'policed';
    const client = { name: 'policed-client', node: nodes[0], namespace: namespace() };
    const far = { name: first.name, node: nodes[1], namespace: namespace() };
    const near = { name: second.name, node: nodes[0], namespace: namespace() };
    const file = configFile(mesh(), first.name);
    writeFileSync(file, config(first.from, ['10.99.0.0/24']));
    const startFar = () =>
      processes.startEndpoint(far, {
        NSM_SERVICE_NAMES: service,
        NSM_CIDR_PREFIX: '172.16.1.0/24',
        NSM_PBR_CONFIG_PATH: file,
      });
    const startClient = () =>
      processes.startClient(client, { NSM_NETWORK_SERVICES: `kernel://${service}/nsm-1` });
    const facts = () => policyFacts(netlink, client.namespace.url);
    const become = (what: string, wanted: Partial<PolicyFacts>) =>
      eventually(what, limitMs, async () => expect(await facts()).toMatchObject(wanted));
    const echoIn = async (where: NetworkNamespace) => {
      await addLoopbackAddress(netlink, where, first.sink);
      const echo = await startUdpEcho(where, first.sink);
      onTestFinished(() => echo.stop());
      return echo;
    };
    const farEcho = await echoIn(far.namespace);
    await echoIn(near.namespace);

    let endpoint = await startFar();
    let nsc = await startClient();
    const { peerAddresses, addresses } = await processes.clients.connected(client.name, limitMs);
    const gateway = peerAddresses?.[0]?.split('/')[0];
    const own = addresses?.[0]?.split('/')[0] ?? '';
    const told = {
      rules: [`from ${first.from}/32 proto 17 dport 7777-7777 table 1`],
      routes: [`1: 10.99.0.0/24 via ${gateway}`],
      tables: [1],
    };
    expect(await facts()).toEqual(told);
    expect(await askUdpEcho(client.namespace, first.from, first.sink)).toBe('hello');
    expect(await askUdpEcho(client.namespace, own, first.sink)).toBe('ENETUNREACH');

    writeFileSync(file, config(first.from, ['10.99.0.0/24', '10.98.0.0/24']));
    const routes = [`1: 10.98.0.0/24 via ${gateway}`, ...told.routes];
    await become('the routes alone have changed', { ...told, routes });
    writeFileSync(file, 'nonsense\n');
    writeFileSync(file, config(first.from, ['10.99.0.0/24']));
    await become('the routes are as before', told);

    await killForwarder(mesh());
    expect(await facts()).toEqual(told);
    endpoint.kill('SIGKILL');
    await endpoint.exited;
    endpoint = await startFar();
    await become('after a restart of the Endpoint', told);
    nsc.kill('SIGKILL');
    await nsc.exited;
    nsc = await startClient();
    await processes.clients.connected(client.name, limitMs);
    await become('after a restart of the client', told);
    await eventually('datagrams follow the policy', limitMs, async () =>
      expect(await askUdpEcho(client.namespace, first.from, first.sink)).toBe('hello'),
    );

    const otherFile = configFile(mesh(), second.name);
    writeFileSync(otherFile, config(second.from, ['10.99.0.0/24']));
    await processes.startEndpoint(near, {
      NSM_SERVICE_NAMES: service,
      NSM_CIDR_PREFIX: '172.16.2.0/24',
      NSM_PBR_CONFIG_PATH: otherFile,
    });
    // With its namespace goes the wire; as long as that is there, a client keeps to an Endpoint that answers.
    await endpoint.stop(10_000);
    await farEcho.stop();
    far.namespace.close();
    // The new table is whole before the old one goes.
    await eventually('after a reselect', limitMs, async () => {
      const { rules, routes: now, tables } = await facts();
      expect(rules).toEqual([expect.stringContaining(`from ${second.from}/32 proto 17`)]);
      expect([now.length, tables.length]).toEqual([1, 1]);
    });
    await eventually('datagrams follow the new policy', limitMs, async () =>
      expect(await askUdpEcho(client.namespace, second.from, second.sink)).toBe('hello'),
    );
    expect(await askUdpEcho(client.namespace, first.from, first.sink)).toBe('EADDRNOTAVAIL');

    await nsc.stop(10_000);
    expect(await facts()).toEqual(noPolicies);
    expect(await traces()).toEqual([]);
  }, 240_000);
});
