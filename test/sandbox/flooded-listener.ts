// A listener of small bounds that is to be flooded, over mutual TLS: somebody honest who calls it on a connection of its own,
// a thief with an identity, strangers without one, and what the audit log of its process says of them.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, expect } from 'vitest';
import { AuditTrail } from '../../actors/authorization/audit-trail.ts';
import { refusedByListener } from '../../actors/authorization/refused-by-listener.ts';
import { ConnectionSchema } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../protocols/nsm/gen/networkservice_pb.ts';
import type { AuditRecord } from '../../protocols/ports/audit.ts';
import type { Identity } from '../../protocols/ports/identity.ts';
import { type Log, silentLog } from '../../protocols/ports/log.ts';
import { serve } from '../../protocols/ports/rpc.ts';
import { createGrpc } from '../../transports/grpc/grpc.ts';
import type { GrpcListenerOptions } from '../../transports/grpc/grpc-listener.ts';
import { createGrpcListener } from '../../transports/grpc/grpc-listener.ts';
import { systemClock as clock, systemWallClock } from '../../transports/process/system-clock.ts';
import { liveResources, noLeak } from '../contract/rpc.ts';
import { TestIdentities } from './identities.ts';
import { callHeaders, partOfMessage, placeOf, provenSession } from './raw-http2.ts';

export const requestPath = '/networkservice.NetworkService/Request';
export const boundMs = 10_000;

let folder: string;
let identities: TestIdentities;
let before: Record<string, number>;
/** Run after each test, the last first. */
export const cleanUps: (() => unknown)[] = [];

export function stageFloods(): void {
  beforeEach(() => {
    before = liveResources();
    folder = mkdtempSync(join(tmpdir(), 'vwire-floods-'));
    identities = new TestIdentities();
  });

  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
    await identities.close();
    rmSync(folder, { recursive: true, force: true });
    await noLeak(before);
  });
}

/** Of the audit log: what was refused, to whom, and by which rule. */
type Line = readonly [string, string | undefined, string | undefined];

export const thiefId = 'spiffe://home.test/thief';

/** A listener of small bounds, an honest caller on a connection of its own, and the thief's identity. */
export async function listener(options: Partial<GrpcListenerOptions> = {}, scheme = 'unix') {
  const refused: string[] = [];
  const log: Log = {
    ...silentLog,
    warn: (message, fields) => void refused.push(`${message} ${JSON.stringify(fields)}`),
  };
  const written: AuditRecord[] = [];
  const trail = new AuditTrail({ log: { write: (line) => void written.push(line) }, clock });
  const served: string[] = [];
  const held = holding();
  const tls = async (name: string) => ({
    identity: await identities.source(name),
    wallClock: systemWallClock,
  });
  const services = [
    serve(NetworkService, {
      request: async (_, { peer }) => {
        served.push(peer.spiffeId ?? '');
        await held.until;
        return create(ConnectionSchema, { id: peer.spiffeId ?? '' });
      },
      close: () => Promise.resolve(create(EmptySchema)),
    }),
  ];
  const url = scheme === 'unix' ? `unix://${folder}/nsm.sock` : 'tcp://127.0.0.1:0';
  const listening = await createGrpcListener({
    clock,
    log,
    tls: await tls('server'),
    onRefused: (refusal) =>
      trail.record(refusedByListener(refusal, { hop: 'nse', self: 'server' })),
    ...options,
  }).listen(url, services);
  cleanUps.push(() => trail.close());
  cleanUps.push(() => listening.close(0));
  const { dialer } = createGrpc({ clock, tls: await tls('honest') });
  cleanUps.push(() => dialer.close());
  const ask = async (): Promise<string> => {
    const { id } = await dialer
      .dial(listening.url)
      .client(NetworkService)
      .request(create(NetworkServiceRequestSchema), { timeoutMs: boundMs });
    return id;
  };
  const othersAreServed = async (): Promise<void> => {
    expect(await ask()).toBe('spiffe://home.test/honest');
  };
  /** One that has no connection yet. */
  const newcomerIsServed = async (): Promise<void> => {
    const session = await sessionOf(listening.url, await identities.source('newcomer'));
    expect(await outcome(wholeRequest(session))).toBe('0');
    session.destroy();
  };
  const thief = await identities.source('thief');
  const others = { othersAreServed, newcomerIsServed };
  const lines = (): readonly Line[] =>
    written.map(({ decision, operation, peer, rule, expected, found }) => {
      expect([decision, expected, found]).toEqual([
        'denied',
        expect.any(String),
        expect.any(String),
      ]);
      return [operation, peer, rule];
    });
  return { url: listening.url, refused, lines, served, held, thief, ...others };
}

/** Keeps every Request unanswered for a while. */
function holding() {
  let release = (): void => {};
  const held = {
    until: Promise.resolve(),
    hold: () => {
      held.until = new Promise((resolve) => {
        release = resolve;
      });
    },
    release: () => release(),
  };
  return held;
}

export async function sessionOf(url: string, identity: Identity): Promise<ClientHttp2Session> {
  const session = await provenSession(url, identity);
  cleanUps.push(() => session.destroy());
  return session;
}

export async function strange(url: string): Promise<Socket> {
  const socket = connect(placeOf(url));
  socket.on('error', () => {});
  cleanUps.push(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

export const wholeRequest = (session: ClientHttp2Session): ClientHttp2Stream => {
  const stream = openCall(session);
  stream.end(partOfMessage(0, 0));
  return stream;
};

export function openCall(session: ClientHttp2Session, headers = callHeaders(requestPath)) {
  const stream = session.request(headers);
  stream.on('error', () => {});
  stream.resume();
  return stream;
}

/** The gRPC status that a stream ends with, or how it was reset; fails where it does not end. */
export function outcome(stream: ClientHttp2Stream): Promise<string> {
  return within('the end of a stream', (resolve) => {
    let status: string | undefined;
    const note = (headers: Record<string, unknown>): void => {
      if (typeof headers['grpc-status'] === 'string') status = headers['grpc-status'];
    };
    stream.on('response', note).on('trailers', note);
    stream.on('close', () => resolve(status ?? `reset ${stream.rstCode}`));
  });
}

export function closed(socket: Socket | ClientHttp2Session): Promise<string> {
  return within('a closed connection', (resolve) => {
    if (socket.destroyed) resolve('closed');
    socket.on('close', () => resolve('closed'));
    if ('resume' in socket) socket.resume();
  });
}

function within(what: string, run: (resolve: (value: string) => void) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${what} in ${boundMs} ms`)), boundMs);
    run((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}

export const isOpen = (each: { readonly destroyed: boolean }): boolean => !each.destroyed;
