// Protects that a received descriptor is kept as long as somebody needs it and no longer, and that a workload's end is
// not hidden by a descriptor that nobody needed.

import { closeSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { timestampFromEpochMs } from '../../../protocols/nsm/expiry.ts';
import {
  NetworkServiceEndpointRegistry,
  NetworkServiceEndpointSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import type { PeerDescriptors } from '../../../protocols/ports/descriptors.ts';
import type {
  CallContext,
  Channel,
  ServiceHandler,
  UnaryOptions,
} from '../../../protocols/ports/rpc.ts';
import { serve } from '../../../protocols/ports/rpc.ts';
import {
  withReceivedFiles,
  withSentFiles,
} from '../../../transports/fd-passing/connection-files.ts';
import { HeldDescriptors } from '../../../transports/fd-passing/held-descriptors.ts';
import { withRegisteredSockets } from '../../../transports/fd-passing/registered-files.ts';
import {
  copyDescriptor,
  inodeUrlOf,
  openPath,
} from '../../../transports/fd-passing/socket-descriptors.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';

const openDescriptors = () => readdirSync('/proc/self/fd').length;
const nothing = { find: () => undefined };
let openBefore: number;

beforeEach(() => {
  openBefore = openDescriptors();
});

afterEach(() => {
  expect(openDescriptors()).toBe(openBefore);
});

describe('held', () => {
  const file = () => openSync('/dev/null', 'r');
  const probe = file();
  const url = inodeUrlOf(probe);
  closeSync(probe);

  it('by calls and connections together: closed with the last of them', () => {
    const held = new HeldDescriptors(nothing);
    const first = held.adopt(url, file());
    const path = held.pathOf(url);
    const second = held.adopt(url, file());
    expect(openDescriptors()).toBe(openBefore + 1);
    held.hold('a', [url]);
    held.hold('a', [url]);
    held.hold('b', [url]);
    first();
    second();
    second();
    held.release('a');
    expect(held.pathOf(url)).toBe(path);
    held.release('b');
    expect(held.has(url)).toBe(false);
  });

  it('not beyond the call where the file is found without', () => {
    const held = new HeldDescriptors({ find: () => '/dev/null' });
    const release = held.adopt(url, file());
    held.hold('a', [url]);
    release();
    expect(held.pathOf(url)).toBeUndefined();
    const opened = held.open(url) ?? -1;
    expect(inodeUrlOf(opened)).toBe(url);
    closeSync(opened);
  });

  it('no more by a connection that has moved to another file', () => {
    const held = new HeldDescriptors(nothing);
    held.adopt(url, file());
    held.hold('a', [url]);
    held.hold('a', []);
    held.hold('a', ['inode://1/1']);
    expect(held.has('inode://1/1')).toBe(false);
    held.close();
    expect(held.has(url)).toBe(false);
  });

  it('opens nothing where the process that showed it has gone', () => {
    const held = new HeldDescriptors({ find: () => '/proc/self/fd/99999' });
    expect(held.open(url)).toBeUndefined();
  });
});

describe('what comes with a call', () => {
  it('is looked for at once, and a call without it goes on in its turn', async () => {
    const descriptor = openSync('/dev/null', 'r');
    const url = inodeUrlOf(descriptor);
    const held = new HeldDescriptors(nothing);
    const seen: boolean[] = [];
    const handler = {
      close: () => (seen.push(held.has(url)), Promise.resolve(create(EmptySchema))),
    } as unknown as ServiceHandler<typeof NetworkService>;
    const [service] = withReceivedFiles([serve(NetworkService, handler)], held);
    const receiving = service?.handler as unknown as ServiceHandler<typeof NetworkService>;
    const come = [undefined, descriptor];
    const descriptors = { take: () => come.shift() } as unknown as PeerDescriptors;
    const call = { peer: { binding: 'grpc', descriptors } } as unknown as CallContext;
    const connection = create(ConnectionSchema, {
      mechanism: kernelMechanism({ netnsUrl: url, interfaceName: 'nsm-1' }),
    });
    const answers = [receiving.close(connection, call), receiving.close(connection, call)];
    expect(seen).toEqual([false, true]);
    await Promise.all(answers);
    expect(held.has(url)).toBe(false);
  });
});

describe('what comes with an answer', () => {
  it.each([
    { what: 'goes at once where the file is found without it', find: () => '/dev/null', open: 0 },
    { what: 'stays for a while where nothing else leads to the file', ...nothing, open: 1 },
  ])('$what', async ({ find, open }) => {
    const descriptor = openSync('/dev/null', 'r');
    const url = inodeUrlOf(descriptor);
    const held = new HeldDescriptors({ find });
    const clock = createManualClock();
    const answer = create(ConnectionSchema, {
      mechanism: kernelMechanism({ netnsUrl: url, interfaceName: 'nsm-1' }),
    });
    const descriptors = { take: () => descriptor } as unknown as PeerDescriptors;
    const client = {
      async request(_: unknown, options: UnaryOptions) {
        options.onPeer?.({ binding: 'grpc', descriptors });
        return answer;
      },
    };
    const channel = { url: 'unix:///a', client: () => client } as unknown as Channel;
    const raw = { dial: () => channel, close: async () => {} };
    const dialer = withSentFiles(raw, { held, clock, wallClock: clock });
    const asked = create(NetworkServiceRequestSchema);
    await dialer.dial(channel.url).client(NetworkService).request(asked, { timeoutMs: 1_000 });
    expect(openDescriptors() - openBefore).toBe(open);
    await clock.advance(30_000);
    expect(openDescriptors()).toBe(openBefore);
    await dialer.close();
  });
});

describe('registered', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'vwire-reg-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  async function registry() {
    const server = createServer();
    const path = join(folder, 'e.sock');
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const seen: string[] = [];
    const clock = createManualClock();
    const held = new HeldDescriptors(nothing);
    const [service] = withRegisteredSockets(
      [
        serve(NetworkServiceEndpointRegistry, {
          register: (endpoint) => {
            if (endpoint.name === 'refused') return Promise.reject(new Error('refused'));
            seen.push(endpoint.url);
            const expirationTime = timestampFromEpochMs(clock.epochMs() + 10_000);
            return Promise.resolve({ ...endpoint, name: `${endpoint.name}-1`, expirationTime });
          },
          async *find() {},
          unregister: () => Promise.resolve(create(EmptySchema)),
        }),
      ],
      { held, clock, wallClock: clock },
    );
    const handler = service?.handler as unknown as ServiceHandler<
      typeof NetworkServiceEndpointRegistry
    >;
    const socket = openPath(path);
    const url = inodeUrlOf(socket);
    const call = (comes: boolean): CallContext => {
      const take = () => (comes ? copyDescriptor(socket) : undefined);
      const descriptors: PeerDescriptors = { take, send: () => {} };
      return {
        peer: { binding: 'grpc', descriptors },
        headers: {},
        deadlineMs: Infinity,
        signal: new AbortController().signal,
        setHeader: () => {},
      };
    };
    const endpoint = (name: string) => create(NetworkServiceEndpointSchema, { name, url });
    const close = () => {
      closeSync(socket);
      return new Promise<void>((resolve) => server.close(() => resolve()));
    };
    return { handler, held, seen, path, url, clock, call, endpoint, close };
  }

  it('a socket by descriptor is dialled under one path until its registration ends', async () => {
    const { handler, held, seen, path, url, clock, call, endpoint, close } = await registry();
    rmSync(path);
    const answer = await handler.register(endpoint('e'), call(true));
    expect(answer).toMatchObject({ name: 'e-1', url });
    await handler.register({ ...answer, name: 'e' }, call(true));
    expect(seen[0]).toBe(`unix://${held.pathOf(url)}`);
    expect(seen[1]).toBe(seen[0]);
    await handler.unregister(answer, call(false));
    expect(held.has(url)).toBe(false);
    await handler.register(endpoint('e'), call(true));
    await clock.advance(71_000);
    expect(held.has(url)).toBe(false);
    await close();
  });

  it('is dialled under its own path where that is seen: nobody`s restart changes it', async () => {
    const { handler, seen, path, call, endpoint, close } = await registry();
    const answer = await handler.register(endpoint('e'), call(true));
    rmSync(path);
    const another = createServer();
    await new Promise<void>((resolve) => another.listen(path, resolve));
    await handler.register(endpoint('f'), call(true));
    await handler.unregister(answer, call(false));
    await handler.unregister(endpoint('f-1'), call(false));
    expect(seen[0]).toBe(`unix://${path}`);
    // What is there now is another socket.
    expect(seen[1]).toMatch(/^unix:\/\/\/proc\/\d+\/fd\/\d+$/);
    await new Promise<void>((resolve) => another.close(() => resolve()));
    await close();
  });

  it('without its descriptor it is refused, and a refused one is not kept', async () => {
    const { handler, held, url, call, endpoint, close } = await registry();
    await expect(handler.register(endpoint('e'), call(false))).rejects.toThrow('did not come');
    await expect(handler.register(endpoint('refused'), call(true))).rejects.toThrow('refused');
    expect(held.has(url)).toBe(false);
    await close();
  });
});
