// Protects honest parts from the rules: with every rule on, a client gets its wire through manager, forwarder
// and Endpoint and leaves nothing; nobody is refused, and each hop leaves its token for the next.

import { statSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ClientStatus } from '../../actors/client/client-setup.ts';
import { composeNsc } from '../../bin/roles/compose-nsc.ts';
import { parseServiceUrl } from '../../protocols/nsm/service-url.ts';
import { parsePathToken } from '../../protocols/spiffe/path-token.ts';
import { liveResources, noLeak } from '../contract/rpc.ts';
import { eventually } from '../sandbox/eventually.ts';
import { idOf, openOnBus, ProvenMesh, secretShape } from '../sandbox/proven-mesh.ts';

let mesh: ProvenMesh;
let before: Record<string, number>;

beforeEach(() => {
  before = liveResources();
});

afterEach(async () => {
  for (const line of await mesh.end()) expect(line).not.toMatch(secretShape);
  await noLeak(before);
});

it('a client over TLS gets its wire and leaves nothing, and nobody is refused', async () => {
  mesh = new ProvenMesh();
  const tokens = await throughAllHops(mesh);
  expect(tokens).toEqual(wholePath);
}, 30_000);

it('a client over a bus does too, and proves as much', async () => {
  mesh = await openOnBus();
  const tokens = await throughAllHops(mesh);
  expect(tokens).toEqual(wholePath);
}, 30_000);

const wholePath = [
  [idOf('nsc'), idOf('nsmgr')],
  [idOf('nsmgr'), idOf('forwarder')],
  [idOf('forwarder'), idOf('nse')],
  [idOf('nse'), idOf('forwarder')],
];

/** Returns subject and audience of each token in the path. */
async function throughAllHops(mesh: ProvenMesh): Promise<readonly (readonly string[])[]> {
  const managerUrl = await mesh.manager();
  await mesh.forwarder(managerUrl);
  await mesh.endpoint(managerUrl);
  const statuses: ClientStatus[] = [];
  const client = composeNsc(await mesh.platformOf('nsc'), {
    name: 'nsc',
    connectTo: managerUrl,
    services: [parseServiceUrl('kernel://service/nsm-1')],
    labels: {},
    requestTimeoutMs: 5_000,
    maxTokenLifetimeMs: 60_000,
    // One that every hop finds: nobody waits for a descriptor of it.
    netns: `inode://4/${statSync('/proc/self/ns/net').ino}`,
    onStatus: (...[, , status]) => void statuses.push(status),
  });
  const connection = await eventually('a wire', 10_000, () => {
    const last = statuses.at(-1);
    if (last?.phase === 'established') return last.connection;
    throw new Error(JSON.stringify([last?.phase, mesh.denials(), mesh.logged.slice(-5)]));
  });
  const tokens = connection.path?.pathSegments.map(({ token }) => parsePathToken(token)) ?? [];
  expect(mesh.world.objectCount()).toBeGreaterThan(0);
  await client.stop(10_000);
  expect(mesh.world.objectCount()).toBe(0);
  expect(mesh.denials()).toEqual([]);
  const hops = mesh.audited().filter(({ operation }) => operation === 'Close');
  expect(hops.map(({ hop, peer }) => [hop, peer])).toEqual([
    ['nsmgr', idOf('nsc')],
    ['forwarder', idOf('nsmgr')],
    ['nse', idOf('forwarder')],
  ]);
  return tokens.map(({ subject, audience }) => [subject, ...audience]);
}
