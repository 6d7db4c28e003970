// Protects that the reference's own programs pass us their descriptors: a client its network namespace, an Endpoint its
// socket and, in its answer, its namespace. Skips where the variables name no such programs.

import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createConnectionTable } from '../../../actors/connection/connection-table.ts';
import { createConnections } from '../../../actors/connection/connections.ts';
import { holdingHop } from '../../../actors/connection/holding-hop.ts';
import type { Hop } from '../../../actors/connection/hop.ts';
import { registryClients } from '../../../actors/registry/registry-clients.ts';
import { createActorSystem } from '../../../actors/runtime/actor-system.ts';
import { composeNsc } from '../../../bin/roles/compose-nsc.ts';
import { composeRegistry } from '../../../bin/roles/compose-registry.ts';
import { obtainIdentity } from '../../../bin/roles/own-identity.ts';
import { createPlatform, type Platform } from '../../../bin/roles/platform.ts';
import type { Connection } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  type NetworkServiceEndpoint,
  NetworkServiceEndpointQuerySchema,
  NetworkServiceEndpointSchema,
  NetworkServiceSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import { inodeUrlsOf } from '../../../protocols/nsm/mechanism.ts';
import { parseServiceUrl } from '../../../protocols/nsm/service-url.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { withReceivedFiles } from '../../../transports/fd-passing/connection-files.ts';
import { createFdPassing } from '../../../transports/fd-passing/fd-passing.ts';
import { HeldDescriptors } from '../../../transports/fd-passing/held-descriptors.ts';
import { createGrpc } from '../../../transports/grpc/grpc.ts';
import { createMemoryRegistryStore } from '../../../transports/memory/registry-store.ts';
import { namespaceInodeUrl } from '../../../transports/netlink/namespace-url.ts';
import { systemClock, systemWallClock } from '../../../transports/process/system-clock.ts';
import { systemRandom } from '../../../transports/process/system-random.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { TestIdentities } from '../../sandbox/identities.ts';
import type { Sandbox } from '../../sandbox/namespaces.ts';
import { createSandbox, whyNoNamespaces } from '../../sandbox/namespaces.ts';

const clock = systemClock;
const log = silentLog;
const maxTokenLifetimeMs = 600_000;
/** What they judge of a registry's path is not tested here. */
const noRegistryPolicies = { NSM_REGISTRY_CLIENT_POLICIES: '', NSM_REGISTRY_SERVER_POLICIES: '' };

/** Undefined where that program is there; else the reason, printed. */
function whyNot(variable: string): string | undefined {
  const reason = process.env[variable] === undefined ? `${variable} not set` : whyNoNamespaces();
  if (reason !== undefined) process.stderr.write(`skipped descriptors from Go peers: ${reason}\n`);
  return reason;
}

let folder: string;
let identities: TestIdentities;
let sandbox: Sandbox;
let openBefore: number;
const cleanUps: (() => unknown)[] = [];

beforeEach(() => {
  openBefore = readdirSync('/proc/self/fd').length;
  folder = mkdtempSync(join(tmpdir(), 'vwire-go-fds-'));
  identities = new TestIdentities();
  sandbox = createSandbox();
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  await sandbox.close();
  await identities.close();
  rmSync(folder, { recursive: true, force: true });
  await eventually('descriptors as before', 5_000, () =>
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(openBefore),
  );
});

async function startGo(variable: string, name: string, env: Readonly<Record<string, string>>) {
  const namespace = sandbox.namespace();
  const settings = {
    PATH: process.env['PATH'],
    TMPDIR: folder,
    NSM_NAME: name,
    SPIFFE_ENDPOINT_SOCKET: await identities.socketOf(name),
    ...env,
  };
  // Its files below /mnt are nobody else's, as those of a container.
  const alone = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs own /mnt && exec "$0"'] as const;
  const child = sandbox.spawn(namespace, [...alone, process.env[variable] ?? ''], {
    cwd: folder,
    env: settings,
    stdio: 'ignore',
  });
  const end = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  };
  cleanUps.push(end);
  return { inodeUrl: namespace.inodeUrl, end };
}

/** A hop of ours that answers everything itself, and finds a namespace in no other way than by its descriptor. */
async function serveHop(name: string, url: string) {
  const endpoint = await identities.socketOf(name);
  const own = await obtainIdentity({ endpoint, maxTokenLifetimeMs, log });
  cleanUps.push(() => own.identity.close());
  const system = createActorSystem({ name, clock, random: systemRandom, log });
  cleanUps.push(() => system.stop(5_000));
  const held = new HeldDescriptors({ find: () => undefined });
  const hop: Hop = {
    request: ({ connection, preferences: [preferred] }) => {
      const mechanism = connection.mechanism ?? preferred;
      const came = inodeUrlsOf([mechanism]).map((each) => held.pathOf(each));
      expect(came).toEqual([expect.any(String)]);
      const agreed = mechanism === undefined ? connection : { ...connection, mechanism };
      const answer = { ...agreed, networkServiceEndpointName: 'nse-1' };
      return Promise.resolve({ connection: answer, memory: {} });
    },
    close: () => Promise.resolve(),
  };
  const connections = createConnections({
    name,
    system,
    clock,
    wallClock: systemWallClock,
    random: systemRandom,
    log,
    hop: holdingHop(hop, held),
    table: createConnectionTable({ clock, log, bootId: 'b', lifetimeMsMax: maxTokenLifetimeMs }),
    tokens: own.tokens,
    ownCallTimeoutMs: 5_000,
  });
  const { listener } = createGrpc({
    clock,
    tls: { identity: own.identity, wallClock: systemWallClock },
    callHeaders: own.callHeaders,
    fdPassing: createFdPassing({ clock, log }),
  });
  const services = withReceivedFiles(connections.services, held);
  const listening = await listener.listen(url, services);
  cleanUps.push(() => listening.close(0));
  return { held, directory: connections.directory };
}

async function platformOf(name: string): Promise<Platform> {
  const platform = await createPlatform({
    name,
    log,
    natsUrl: undefined,
    insecure: false,
    workloadApi: await identities.socketOf(name),
  });
  cleanUps.push(() => platform.stop(5_000));
  return platform;
}

/** A registry of ours at that URL. */
async function serveRegistry(platform: Platform, url: string): Promise<void> {
  const registry = await composeRegistry(platform, {
    name: 'registry',
    listenOn: [url],
    store: createMemoryRegistryStore(),
  });
  cleanUps.push(() => registry.stop(1_000));
}

const heldSocket = /^unix:\/\/\/proc\/\d+\/fd\/\d+$/;

/** Once it is known there. */
function findEndpoint(platform: Platform, url: string): Promise<NetworkServiceEndpoint> {
  const { endpoints } = registryClients(platform.dialer.dial(url));
  return eventually('its registration', 20_000, async () => {
    const query = create(NetworkServiceEndpointQuerySchema, {
      networkServiceEndpoint: { name: 'nse-1' },
    });
    for await (const { networkServiceEndpoint } of endpoints.find(query, { timeoutMs: 5_000 })) {
      if (networkServiceEndpoint !== undefined) return networkServiceEndpoint;
    }
    throw new Error('not registered');
  });
}

const startEndpoint = (connectTo: string) =>
  startGo('VWIRE_GO_NSE', 'nse-1', {
    NSM_CONNECT_TO: connectTo,
    TMPDIR: '/mnt',
    NSM_SERVICE_NAMES: 'any',
    NSM_CIDR_PREFIX: '172.16.1.0/24',
    ...noRegistryPolicies,
  });

const startManager = (url: string, registryUrl: string) =>
  startGo('VWIRE_GO_NSMGR', 'nsmgr', {
    NSM_LISTEN_ON: url,
    NSM_REGISTRY_URL: registryUrl,
    ...noRegistryPolicies,
  });

/** A client of ours; what it was answered last. */
function startClient(platform: Platform, connectTo: string, netns: string) {
  const last: { answer?: Connection } = {};
  const nsc = composeNsc(platform, {
    name: 'nsc-1',
    connectTo,
    services: [parseServiceUrl('kernel://any/nsm-1')],
    labels: {},
    requestTimeoutMs: 10_000,
    maxTokenLifetimeMs,
    netns,
    endpointName: 'nse-1',
    onStatus: (_, __, status) => {
      if (status.phase === 'established') last.answer = status.connection;
    },
  });
  cleanUps.push(() => nsc.stop(5_000));
  return last;
}

describe.skipIf(whyNot('VWIRE_GO_NSC') !== undefined)("Go's client", () => {
  it('sends its namespace, which is there until it closes', async () => {
    const url = `unix://${folder}/nsm.sock`;
    const { held, directory } = await serveHop('nsmgr', url);
    const client = await startGo('VWIRE_GO_NSC', 'nsc-1', {
      NSM_CONNECT_TO: url,
      NSM_NETWORK_SERVICES: 'kernel://any/nsm-1',
      NSM_LOCAL_DNS_SERVER_ENABLED: 'false',
      NSM_LIVENESS_CHECK_ENABLED: 'false',
    });
    await eventually('its namespace', 20_000, () => expect(held.has(client.inodeUrl)).toBe(true));
    expect(directory.size).toBe(1);
    await client.end();
    await eventually('its Close', 10_000, () => expect(directory.size).toBe(0));
    expect(held.has(client.inodeUrl)).toBe(false);
  }, 60_000);
});

describe.skipIf(whyNot('VWIRE_GO_NSMGR') !== undefined)("Go's manager", () => {
  it('takes the namespace of our client and passes it to our forwarder', async () => {
    const [manager, registryUrl] = [`unix://${folder}/nsm.sock`, `unix://${folder}/registry.sock`];
    const forwarderUrl = `unix://${folder}/forwarder.sock`;
    const platform = await platformOf('registry');
    await serveRegistry(platform, registryUrl);
    const service = create(NetworkServiceSchema, { name: 'any', payload: 'ETHERNET' });
    const registered = registryClients(platform.dialer.dial(registryUrl));
    await registered.services.register(service, { timeoutMs: 5_000 });
    const { held } = await serveHop('forwarder', forwarderUrl);
    await startManager(manager, registryUrl);
    const { endpoints } = registryClients(platform.dialer.dial(manager));
    const entry = create(NetworkServiceEndpointSchema, {
      name: 'forwarder',
      networkServiceNames: ['forwarder'],
      url: forwarderUrl,
    });
    await eventually('the forwarder to be known', 20_000, () =>
      endpoints.register(entry, { timeoutMs: 2_000 }),
    );
    const netns = namespaceInodeUrl('/proc/self/ns/net');
    const last = startClient(await platformOf('client'), manager, netns);
    await eventually('the answer', 20_000, () => expect(last.answer).toBeDefined());
    expect(inodeUrlsOf([last.answer?.mechanism])).toEqual([netns]);
    expect(held.has(netns)).toBe(true);
  }, 60_000);

  it.skipIf(whyNot('VWIRE_GO_NSE') !== undefined)(
    'names an Endpoint of its own by a descriptor that we can dial',
    async () => {
      const [manager, registryUrl] = [`unix://${folder}/nsm.sock`, `unix://${folder}/reg.sock`];
      const platform = await platformOf('registry');
      await serveRegistry(platform, registryUrl);
      await startManager(manager, registryUrl);
      const endpoint = await startEndpoint(manager);
      const found = await findEndpoint(platform, manager);
      expect(found.url).toMatch(heldSocket);
      const last = startClient(platform, found.url, 'inode://4/1');
      await eventually('its answer', 20_000, () => expect(last.answer?.mechanism).toBeDefined());
      expect(inodeUrlsOf([last.answer?.mechanism])).toEqual([endpoint.inodeUrl]);
    },
    60_000,
  );
});

describe.skipIf(whyNot('VWIRE_GO_NSE') !== undefined)("Go's Endpoint", () => {
  it('registers its socket, is reached by it, and answers with its namespace', async () => {
    const platform = await platformOf('nsmgr');
    const url = `unix://${folder}/nsm.sock`;
    await serveRegistry(platform, url);
    const endpoint = await startEndpoint(url);
    const found = await findEndpoint(platform, url);
    expect(found.url).toMatch(heldSocket);
    const last = startClient(platform, found.url, 'inode://4/1');
    await eventually('its answer', 20_000, () => expect(last.answer?.mechanism).toBeDefined());
    expect(inodeUrlsOf([last.answer?.mechanism])).toEqual([endpoint.inodeUrl]);
  }, 60_000);
});
