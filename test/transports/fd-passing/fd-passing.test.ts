// Protects that descriptors reach the process that a message names them to, over unix sockets beneath TLS, in both
// directions and without any other way to the file; and that calls are told of a peer that has gone.

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { beforeEach, describe, expect, it } from 'vitest';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import {
  NetworkServiceEndpointQuerySchema,
  NetworkServiceEndpointRegistry,
  NetworkServiceEndpointResponseSchema,
  NetworkServiceEndpointSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import { parameter, parameterKey } from '../../../protocols/nsm/mechanism.ts';
import type { Identity } from '../../../protocols/ports/identity.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { serve } from '../../../protocols/ports/rpc.ts';
import {
  withReceivedFiles,
  withSentFiles,
} from '../../../transports/fd-passing/connection-files.ts';
import { withRegisteredSockets } from '../../../transports/fd-passing/registered-files.ts';
import { createFdPassing } from '../../../transports/fd-passing/fd-passing.ts';
import { HeldDescriptors } from '../../../transports/fd-passing/held-descriptors.ts';
import { inodeUrlOf } from '../../../transports/fd-passing/socket-descriptors.ts';
import { createGrpc } from '../../../transports/grpc/grpc.ts';
import { openNamespace } from '../../../transports/netlink/namespace-url.ts';
import { createNetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { systemClock, systemWallClock } from '../../../transports/process/system-clock.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { TestIdentities } from '../../sandbox/identities.ts';
import { whyNoNamespaces } from '../../sandbox/namespaces.ts';
import { useDescriptorBench } from './descriptor-bench.ts';

const clock = systemClock;
const log = silentLog;
const bench = useDescriptorBench();

describe.skipIf(whyNoNamespaces() !== undefined)('calls', () => {
  let home: TestIdentities;

  beforeEach(() => {
    home = new TestIdentities();
    bench.cleanUps.push(() => home.close());
  });

  const nothingFound = { find: () => undefined };

  function grpcOf(identity: Identity) {
    return createGrpc({
      clock,
      tls: { identity, wallClock: systemWallClock },
      fdPassing: createFdPassing({ clock, log }),
    });
  }

  function namespace() {
    const made = createNetworkNamespace();
    bench.cleanUps.push(() => made.close());
    return made;
  }

  const asking = (netnsUrl: string) =>
    create(NetworkServiceRequestSchema, {
      connection: {},
      mechanismPreferences: [kernelMechanism({ netnsUrl, interfaceName: 'nsm-1' })],
    });
  const budget = { timeoutMs: 10_000 };

  /** A caller that has the namespaces given, and what came with answers. */
  function caller(identity: Identity, url: string, own: { url: string; inodeUrl: string }) {
    const find = (wanted: string) => (wanted === own.inodeUrl ? fileURLToPath(own.url) : undefined);
    const held = new HeldDescriptors({ find });
    const dialer = withSentFiles(grpcOf(identity).dialer, {
      held,
      clock,
      wallClock: systemWallClock,
    });
    bench.cleanUps.push(() => held.close());
    bench.cleanUps.push(() => dialer.close());
    return { client: dialer.dial(url).client(NetworkService), held, dialer };
  }

  it('carry namespaces both ways between processes that cannot see each other', async () => {
    const url = `unix://${bench.folder}/r.sock`;
    const child = await startReceiver(url, await home.socketOf('receiver'));
    const own = namespace();
    const { client, held } = caller(await home.source('caller'), url, own);
    const answer = await client.request(asking(own.inodeUrl), budget);
    expect(answer.id).toBe(own.inodeUrl);
    const theirs = (answer.mechanism && parameter(answer.mechanism, parameterKey.inodeUrl)) ?? '';
    await endOf(child);
    // The process that made it has gone; the descriptor alone keeps it.
    closeSync(openNamespace(theirs));
    const got = held.open(theirs) ?? -1;
    expect(inodeUrlOf(got)).toBe(theirs);
    closeSync(got);
  });

  it('leave nothing behind: what comes with a call is there until the answer, or until its holder is done', async () => {
    const [server, client_] = [await home.source('server'), await home.source('client')];
    const held = new HeldDescriptors(nothingFound);
    bench.cleanUps.push(() => held.close());
    const openDuring: boolean[] = [];
    const service = serve(NetworkService, {
      request: ({ connection, mechanismPreferences }) => {
        const url = mechanismPreferences[0]?.parameters['inodeURL'] ?? '';
        openDuring.push(held.has(url));
        if (connection?.id === 'keeps') held.hold('keeps', [url]);
        return Promise.resolve(create(ConnectionSchema));
      },
      close: () => Promise.resolve(create(EmptySchema)),
    });
    const { listener } = grpcOf(server);
    const listening = await listener.listen(
      `unix://${bench.folder}/s.sock`,
      withReceivedFiles([service], held),
    );
    bench.cleanUps.push(() => listening.close(0));
    const own = namespace();
    const { client } = caller(client_, listening.url, own);
    await client.request(asking(own.inodeUrl), budget);
    expect(held.has(own.inodeUrl)).toBe(false);
    const keeping = asking(own.inodeUrl);
    keeping.connection = create(ConnectionSchema, { id: 'keeps' });
    await client.request(keeping, budget);
    await client.request(keeping, budget);
    expect(openDuring).toEqual([true, true, true]);
    expect(held.has(own.inodeUrl)).toBe(true);
    held.release('keeps');
    expect(held.has(own.inodeUrl)).toBe(false);
    expect(openDuring).toEqual([true, true, true]);
  });

  it('find the Endpoints of a node by their sockets, as many as there are, and register one so', async () => {
    const count = 200;
    const paths = Array.from({ length: count }, (_, at) => `${bench.folder}/e-${at}.sock`);
    for (const path of paths) {
      const endpoint = createServer();
      await new Promise<void>((resolve) => endpoint.listen(path, resolve));
      bench.cleanUps.push(() => endpoint.close());
    }
    const entry = (path: string) =>
      create(NetworkServiceEndpointSchema, { name: path, url: `unix://${path}` });
    const registered: string[] = [];
    const service = serve(NetworkServiceEndpointRegistry, {
      register: (endpoint) => (registered.push(endpoint.url), Promise.resolve(endpoint)),
      unregister: (endpoint) => (
        registered.push(endpoint.url), Promise.resolve(create(EmptySchema))
      ),
      async *find() {
        for (const path of paths) {
          yield create(NetworkServiceEndpointResponseSchema, {
            networkServiceEndpoint: entry(path),
          });
        }
      },
    });
    const held = new HeldDescriptors(nothingFound);
    bench.cleanUps.push(() => held.close());
    const files = { held, clock, wallClock: systemWallClock };
    const { listener } = grpcOf(await home.source('manager'));
    const listening = await listener.listen(
      `unix://${bench.folder}/m.sock`,
      withRegisteredSockets([service], files),
    );
    bench.cleanUps.push(() => listening.close(0));
    const identity = await home.source('caller');
    const raw = grpcOf(identity).dialer;
    bench.cleanUps.push(() => raw.close());
    const seen: string[] = [];
    const plain = raw.dial(listening.url).client(NetworkServiceEndpointRegistry);
    const query = create(NetworkServiceEndpointQuerySchema);
    for await (const { networkServiceEndpoint } of plain.find(query, budget)) {
      seen.push(networkServiceEndpoint?.url ?? '');
    }
    expect(seen.filter((url) => url.startsWith('inode://'))).toHaveLength(count);
    const { dialer } = caller(identity, listening.url, namespace());
    const registry = dialer.dial(listening.url).client(NetworkServiceEndpointRegistry);
    const found: string[] = [];
    for await (const { networkServiceEndpoint } of registry.find(query, budget)) {
      found.push(networkServiceEndpoint?.url ?? '');
    }
    expect(found).toEqual(paths.map((path) => `unix://${path}`));
    const own = entry(paths[0] ?? '');
    const passing = { ...budget, passesSocket: true };
    expect(await registry.register(own, passing)).toMatchObject({ url: own.url });
    await registry.unregister(own, passing);
    expect(registered).toEqual([own.url, own.url]);
  });

  it('go on without a file that never comes', async () => {
    const held = new HeldDescriptors(nothingFound);
    const service = serve(NetworkService, {
      request: () => Promise.resolve(create(ConnectionSchema, { id: 'served' })),
      close: () => Promise.resolve(create(EmptySchema)),
    });
    const { listener } = grpcOf(await home.source('server'));
    const listening = await listener.listen(
      `unix://${bench.folder}/s.sock`,
      withReceivedFiles([service], held),
    );
    bench.cleanUps.push(() => listening.close(0));
    const { client } = caller(await home.source('client'), listening.url, namespace());
    const answer = await client.request(asking('inode://4/1'), budget);
    expect(answer.id).toBe('served');
  });

  it.each([
    { how: 'has ended', end: (socket: Socket) => socket.end() },
    { how: 'has gone', end: (socket: Socket) => socket.destroy() },
    { how: 'has gone with bytes unread', end: (socket: Socket) => socket.destroy(), unread: true },
  ])('under way, and begun since, are told that a peer that $how is not there', async (ending) => {
    let arrived = (): void => {};
    const hasArrived = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const service = serve(NetworkService, {
      request: () => (arrived(), new Promise(() => {})),
      close: () => Promise.resolve(create(EmptySchema)),
    });
    const { listener } = grpcOf(await home.source('server'));
    const listening = await listener.listen(`unix://${bench.folder}/s.sock`, [service]);
    bench.cleanUps.push(() => listening.close(0));
    const between = await listenBetween(`${bench.folder}/between.sock`, `${bench.folder}/s.sock`);
    const identity = await home.source('client');
    const { client } = caller(identity, `unix://${bench.folder}/between.sock`, namespace());
    const refusal = (id = ''): Promise<unknown> =>
      client
        .request(create(NetworkServiceRequestSchema, { connection: { id } }), budget)
        .catch((error: unknown) => error);
    const calls = [refusal()];
    await hasArrived;
    const [near] = between.sockets;
    if (ending.unread) {
      near?.unpipe().pause();
      // More than Node reads ahead.
      calls.push(refusal('x'.repeat(300_000)));
      await eventually('bytes to be there', 5_000, () => {
        expect(near?.readableLength).toBeGreaterThan(0);
      });
    }
    between.stop();
    ending.end(near as Socket);
    // Written before anybody here can have read the end.
    calls.push(refusal(), refusal());
    for (const error of await Promise.all(calls)) {
      expect(error).toMatchObject({ code: 'UNAVAILABLE' });
    }
  });

  /** Hands on what it is sent, until told to stop; then nobody listens there. */
  async function listenBetween(path: string, to: string) {
    const sockets: Socket[] = [];
    const server = createServer((near) => {
      const far = connect(to);
      near.pipe(far).pipe(near);
      for (const each of [near, far]) sockets.push(each.on('error', () => {}));
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    bench.cleanUps.push(() => sockets.forEach((each) => each.destroy()));
    bench.cleanUps.push(() => server.close());
    const stop = () => {
      server.close();
      sockets.forEach((each) => each.unpipe());
    };
    return { sockets, stop };
  }

  /** In a PID namespace with a /proc of its own, where no process of the test is to be seen. */
  async function startReceiver(url: string, workloadApi: string): Promise<ChildProcess> {
    const program = fileURLToPath(new URL('receiver-child.ts', import.meta.url));
    const isolate = ['--pid', '--fork', '--kill-child', '--mount-proc'];
    const command = [process.execPath, '--import', 'tsx', program, url, workloadApi];
    const child = spawn('unshare', [...isolate, ...command], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    bench.cleanUps.push(() => endOf(child));
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`the receiver ended with ${code}`)));
      child.stdout?.once('data', () => resolve());
    });
    return child;
  }

  async function endOf(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.stdin?.end();
    await ended;
  }
});
