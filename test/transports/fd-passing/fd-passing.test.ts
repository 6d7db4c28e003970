// Protects that descriptors reach the process that a message names them to, over unix sockets beneath TLS, in both
// directions and without any other way to the file; and that no peer can make this process keep or lose a descriptor.

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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
import type { PassingSocket } from '../../../transports/fd-passing/passing-socket.ts';
import type { DescriptorBounds } from '../../../transports/fd-passing/socket-descriptors.ts';
import { inodeUrlOf } from '../../../transports/fd-passing/socket-descriptors.ts';
import { sendByteWith } from '../../../transports/fd-passing/socket-messages.ts';
import { createGrpc } from '../../../transports/grpc/grpc.ts';
import { openNamespace } from '../../../transports/netlink/namespace-url.ts';
import { createNetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { systemClock, systemWallClock } from '../../../transports/process/system-clock.ts';
import { noLeak, liveResources } from '../../contract/rpc.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { TestIdentities } from '../../sandbox/identities.ts';
import { whyNoNamespaces } from '../../sandbox/namespaces.ts';

const clock = systemClock;
const log = silentLog;
const openDescriptors = () => readdirSync('/proc/self/fd').length;

let folder: string;
let before: Record<string, number>;
let openBefore: number;
const cleanUps: (() => unknown)[] = [];

beforeEach(() => {
  before = liveResources();
  openBefore = openDescriptors();
  folder = mkdtempSync(join(tmpdir(), 'vwire-fds-'));
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  rmSync(folder, { recursive: true, force: true });
  await noLeak(before);
  await eventually('descriptors as before', 5_000, () =>
    expect(openDescriptors()).toBeLessThanOrEqual(openBefore),
  );
});

describe('a socket', () => {
  interface Ends {
    readonly sender: Socket;
    readonly receiver: PassingSocket;
    /** All that was read so far. */
    readonly text: () => string;
  }

  async function ends(bounds: Partial<DescriptorBounds> = {}, isKnown = true): Promise<Ends> {
    const path = join(folder, 's.sock');
    const passing = createFdPassing({ clock, log, ...bounds });
    const server: Server = createServer({ pauseOnConnect: true });
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    cleanUps.push(() => server.close());
    const sender = connect(path);
    sender.on('error', () => {});
    await new Promise<void>((resolve) => sender.once('connect', resolve));
    const receiver = passing.wrap(await accepted);
    if (receiver === undefined) throw new Error('this Node has no pipe handle as expected');
    receiver.on('error', () => {});
    if (isKnown) receiver.admit();
    cleanUps.push(() => sender.destroy());
    cleanUps.push(() => receiver.destroy());
    let text = '';
    receiver.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1');
    });
    return { sender, receiver, text: () => text };
  }

  const handleOf = (socket: Socket) => (socket as unknown as { _handle: { fd: number } })._handle;

  function openFile(path = '/dev/null') {
    const descriptor = openSync(path, 'r');
    cleanUps.push(() => closeSync(descriptor));
    return { descriptor, url: inodeUrlOf(descriptor) };
  }

  async function sendRaw({ sender }: Ends, text: string, descriptor: number) {
    await eventually('room to send', 5_000, () => {
      expect(sendByteWith(handleOf(sender).fd, text.charCodeAt(0), descriptor)).toBe(true);
    });
  }

  it('keeps the stream whole, whatever comes with it', async () => {
    const pair = await ends();
    const wanted = openFile();
    const rest = 'x'.repeat(300_000);
    pair.sender.write('first ');
    await eventually('the first bytes', 5_000, () => expect(pair.text()).toBe('first '));
    await sendRaw(pair, '!', wanted.descriptor);
    pair.sender.write(rest);
    await eventually('the rest', 5_000, () => expect(pair.text()).toBe(`first !${rest}`));
    const got = pair.receiver.descriptors.take(wanted.url) ?? -1;
    expect(inodeUrlOf(got)).toBe(wanted.url);
    expect(got).not.toBe(wanted.descriptor);
    closeSync(got);
    expect(pair.receiver.descriptors.take(wanted.url)).toBeUndefined();
  });

  it('sends each descriptor ahead of the bytes that follow, as a copy', async () => {
    const { receiver, sender } = await ends();
    const passing = createFdPassing({ clock, log }).wrap(sender);
    if (passing === undefined) throw new Error('not wrapped');
    cleanUps.push(() => passing.destroy());
    let seen = '';
    passing.on('data', (bytes: Buffer) => {
      seen += bytes.toString('latin1');
    });
    const files = [openFile('/dev/null'), openFile('/dev/zero'), openFile('/proc/self/ns/net')];
    for (const { descriptor } of files) receiver.descriptors.send(descriptor);
    receiver.write('answer');
    await eventually('the answer', 5_000, () => expect(seen).toBe('answer'));
    for (const { url } of files) {
      const got = passing.descriptors.take(url) ?? -1;
      expect(inodeUrlOf(got)).toBe(url);
      closeSync(got);
    }
  });

  it('has a descriptor no later than the byte that it came with', async () => {
    const pair = await ends();
    const file = openFile();
    const seen: boolean[] = [];
    pair.receiver.on('data', () => {
      const got = pair.receiver.descriptors.take(file.url);
      seen.push(got !== undefined);
      if (got !== undefined) closeSync(got);
    });
    for (const each of 'abc') await sendRaw(pair, each, file.descriptor);
    await eventually('all bytes', 5_000, () => expect(pair.text()).toBe('abc'));
    expect(seen).toEqual([true, true, true]);
  });

  it('closes what nobody takes: beyond the bound at once, the rest after a while', async () => {
    const pair = await ends({ waitingMax: 3, unclaimedMs: 50 });
    const file = openFile();
    const openNow = openDescriptors();
    for (let sent = 0; sent < 20; sent += 1) await sendRaw(pair, 'x', file.descriptor);
    await eventually('all bytes', 5_000, () => expect(pair.text()).toBe('x'.repeat(20)));
    expect(openDescriptors()).toBeLessThanOrEqual(openNow + 3);
    await eventually('none left', 5_000, () => expect(openDescriptors()).toBe(openNow));
    expect(pair.receiver.descriptors.take(file.url)).toBeUndefined();
  });

  it('takes next to nothing from a peer that nobody knows yet', async () => {
    const pair = await ends({ strangerMax: 0 }, false);
    const file = openFile();
    const openNow = openDescriptors();
    await sendRaw(pair, 'x', file.descriptor);
    await eventually('the byte', 5_000, () => expect(pair.text()).toBe('x'));
    expect(openDescriptors()).toBe(openNow);
    pair.receiver.admit();
    await sendRaw(pair, 'y', file.descriptor);
    await eventually('both bytes', 5_000, () => expect(pair.text()).toBe('xy'));
    expect(openDescriptors()).toBe(openNow + 1);
  });

  it('takes sockets, pipes and folders for what they are', async () => {
    const pair = await ends();
    const folderFile = openFile(folder);
    const kinds = [folderFile.descriptor, handleOf(pair.sender).fd];
    for (const each of kinds) await sendRaw(pair, 'x', each);
    await eventually('all bytes', 5_000, () => expect(pair.text()).toBe('xx'));
    const got = pair.receiver.descriptors.take(folderFile.url) ?? -1;
    expect(() => openNamespace(folderFile.url)).toThrow('is not there');
    expect(fstatSync(got).isDirectory()).toBe(true);
    closeSync(got);
  });

  it('lets go of everything when the peer dies', async () => {
    const pair = await ends();
    const { descriptors } = pair.receiver;
    await sendRaw(pair, 'x', openFile().descriptor);
    await eventually('the byte', 5_000, () => expect(pair.text()).toBe('x'));
    pair.sender.destroy();
    await eventually('its end', 5_000, () => {
      expect(() => descriptors.send(0)).toThrow('has ended');
    });
  });

  it('refuses to queue more than it may send', async () => {
    const { receiver } = await ends({ waitingMax: 2 });
    const { descriptor } = openFile();
    receiver.descriptors.send(descriptor);
    receiver.descriptors.send(descriptor);
    expect(() => receiver.descriptors.send(descriptor)).toThrow('too many descriptors');
  });
});

describe.skipIf(whyNoNamespaces() !== undefined)('calls', () => {
  let home: TestIdentities;

  beforeEach(() => {
    home = new TestIdentities();
    cleanUps.push(() => home.close());
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
    cleanUps.push(() => made.close());
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
    cleanUps.push(() => held.close());
    cleanUps.push(() => dialer.close());
    return { client: dialer.dial(url).client(NetworkService), held, dialer };
  }

  it('carry namespaces both ways between processes that cannot see each other', async () => {
    const url = `unix://${folder}/r.sock`;
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
    cleanUps.push(() => held.close());
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
      `unix://${folder}/s.sock`,
      withReceivedFiles([service], held),
    );
    cleanUps.push(() => listening.close(0));
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
    const paths = Array.from({ length: count }, (_, at) => `${folder}/e-${at}.sock`);
    for (const path of paths) {
      const endpoint = createServer();
      await new Promise<void>((resolve) => endpoint.listen(path, resolve));
      cleanUps.push(() => endpoint.close());
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
    cleanUps.push(() => held.close());
    const files = { held, clock, wallClock: systemWallClock };
    const { listener } = grpcOf(await home.source('manager'));
    const listening = await listener.listen(
      `unix://${folder}/m.sock`,
      withRegisteredSockets([service], files),
    );
    cleanUps.push(() => listening.close(0));
    const identity = await home.source('caller');
    const raw = grpcOf(identity).dialer;
    cleanUps.push(() => raw.close());
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
      `unix://${folder}/s.sock`,
      withReceivedFiles([service], held),
    );
    cleanUps.push(() => listening.close(0));
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
    const listening = await listener.listen(`unix://${folder}/s.sock`, [service]);
    cleanUps.push(() => listening.close(0));
    const between = await listenBetween(`${folder}/between.sock`, `${folder}/s.sock`);
    const identity = await home.source('client');
    const { client } = caller(identity, `unix://${folder}/between.sock`, namespace());
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
    cleanUps.push(() => sockets.forEach((each) => each.destroy()));
    cleanUps.push(() => server.close());
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
    cleanUps.push(() => endOf(child));
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
