// Protects a registry's door from holding what an Endpoint that was killed has left: a socket whose path is seen here
// is reached by that path, and its descriptor is let go at once; the socket may be named without one ever after.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NetworkServiceEndpointSchema } from '../../../protocols/nsm/gen/registry_pb.ts';
import type { PeerDescriptors } from '../../../protocols/ports/descriptors.ts';
import { HeldDescriptors } from '../../../transports/fd-passing/held-descriptors.ts';
import { KeptSockets } from '../../../transports/fd-passing/kept-sockets.ts';
import { inodeUrlOf, openPath } from '../../../transports/fd-passing/socket-descriptors.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';

const openDescriptors = () => readdirSync('/proc/self/fd').length;

describe('the socket of an Endpoint, whose path is seen here', () => {
  let folder: string;
  let path: string;
  let server: Server;
  let sockets: KeptSockets;

  const listen = (at: string) =>
    new Promise<Server>((resolve) => {
      const listening = createServer().listen(at, () => resolve(listening));
    });
  const end = (listening: Server) => new Promise((resolve) => listening.close(resolve));

  /** As a peer sends it. */
  function sent(): { url: string; descriptors: PeerDescriptors } {
    const descriptor = openPath(path);
    return {
      url: inodeUrlOf(descriptor),
      descriptors: { take: () => descriptor, send: () => {} },
    };
  }

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'vwire-kept-'));
    path = join(folder, 'nse.sock');
    server = await listen(path);
    const clock = createManualClock();
    const held = new HeldDescriptors({ find: () => undefined });
    sockets = new KeptSockets({ held, clock, wallClock: clock });
  });

  afterEach(async () => {
    sockets.close();
    await end(server);
    rmSync(folder, { recursive: true });
  });

  function keep(): string {
    const { url, descriptors } = sent();
    const socket = sockets.receive(url, descriptors);
    if (socket === undefined) throw new Error('the socket was not received');
    sockets.keep(create(NetworkServiceEndpointSchema, { name: 'nse' }), socket);
    return url;
  }

  it('is dialled by it, and no descriptor is held', () => {
    const before = openDescriptors();
    keep();
    expect(sockets.of('nse')?.dialled).toBe(`unix://${path}`);
    expect(openDescriptors()).toBe(before);
  });

  it('is known again by its number alone', () => {
    const url = keep();
    expect(sockets.receive(url, undefined)).toMatchObject({ url, dialled: `unix://${path}` });
  });

  it('is not taken for another one that lies there now', async () => {
    const url = keep();
    await end(server);
    server = await listen(path);
    // A file system may give the number of the last one to the next.
    const { url: now, descriptors } = sent();
    sockets.receive(now, descriptors);
    const again = sockets.receive(url, undefined);
    expect(again === undefined || now === url).toBe(true);
  });
});
