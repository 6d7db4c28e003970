// The serving side of gRPC, byte-compatible with the reference: paths from the descriptors, metadata as it is, and
// grpc.health.v1.Health beside the services. Sockets are bound and connections taken here, over TLS judged, and then
// handed to grpc-js.

import { Server } from '@grpc/grpc-js';
import type { Server as NetServer, Socket } from 'node:net';
import { createServer } from 'node:net';
import { NsmError } from '../../protocols/errors.ts';
import type { OperationGuard } from '../../protocols/messages/operation-guard.ts';
import { createOperationGuard } from '../../protocols/messages/operation-guard.ts';
import {
  CallsInFlight,
  listenerStopped,
  servedMethods,
} from '../../protocols/messages/served-call.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import { type Log, silentLog } from '../../protocols/ports/log.ts';
import type { OnRefused, Refusal } from '../../protocols/ports/refusal.ts';
import type { Listener, Listening, ServedService } from '../../protocols/ports/rpc.ts';
import { bindSocket } from './bound-socket.ts';
import type { GrpcAddress, PlaintextOptions } from './grpc-address.ts';
import { createPlaintextPolicy, parseGrpcUrl } from './grpc-address.ts';
import { messageBytesMaxDefault } from './grpc-bytes.ts';
import { healthMethods, registerHealth } from './grpc-health.ts';
import type { GrpcHost, GrpcServedCall } from './grpc-served-calls.ts';
import { plaintextCaller, registerMethod } from './grpc-served-calls.ts';
import type { MutualTls } from './mutual-tls.ts';
import type { FdPassing } from './passing-credentials.ts';
import { type PeerBounds, peerBoundsDefault, PeerLoad } from './peer-load.ts';
import { RefusalLog } from './refusal-log.ts';
import { type CalledMethod, gatedInjector, StreamGate } from './stream-gate.ts';
import { TlsDoor } from './tls-door.ts';

export interface GrpcListenerOptions extends PlaintextOptions {
  readonly clock: Clock;
  readonly log?: Log;
  /** Proves who serves and judges who calls. Absent: plaintext, where it is allowed. */
  readonly tls?: MutualTls;
  /** Lets unix sockets carry descriptors. Only over TLS. */
  readonly fdPassing?: FdPassing;
  /** Calls and streams in flight per listener; beyond it a call is refused with RESOURCE_EXHAUSTED. */
  readonly callsMax?: number;
  /** Connections per listener, TLS handshakes included; beyond it a connection is dropped. */
  readonly connectionsMax?: number;
  /** What each peer that TLS has proven may take of that. Without TLS nobody is known, and all are one peer. */
  readonly perPeer?: Partial<PeerBounds>;
  /** TLS handshakes under way; beyond it the oldest gives way. */
  readonly handshakesMax?: number;
  readonly handshakeMs?: number;
  readonly messageBytesMax?: number;
  /** How often a connection is probed, so that a peer that vanished is noticed. */
  readonly keepaliveMs?: number;
  /** How long it has to answer the probe. */
  readonly keepaliveTimeoutMs?: number;
  /** Told of each peer, connection and call that is turned away here, besides the log. */
  readonly onRefused?: OnRefused;
  /** The guard of one listener; by default each has its own with default bounds. */
  readonly createGuard?: () => OperationGuard;
}

/** How long refusals have to leave before connections are cut. */
const lastWordsMs = 200;

export function createGrpcListener(options: GrpcListenerOptions): Listener {
  const { tls, clock, log = silentLog } = options;
  const policy = tls === undefined ? createPlaintextPolicy(options) : undefined;
  return {
    listen: async (url: string, services: readonly ServedService[]): Promise<Listening> => {
      const address = parseGrpcUrl(url);
      policy?.(address);
      const refusals = new RefusalLog({ clock, log, url, onRefused: options.onRefused });
      const host = createHost(url, options, refusals);
      const server = createServerOf(host, services, options);
      const gateOf = gates(host, services, options);
      const entrance =
        tls === undefined
          ? plainDoor(server, gateOf)
          : tlsDoor({ host, server, gateOf }, address.kind);
      boundConnections(entrance.socket, host, options);
      try {
        const cut = followSockets(entrance.socket);
        const bound = await bindSocket(entrance.socket, address);
        if (tls === undefined) log.warn('listened without TLS', { url: bound });
        return {
          url: bound,
          close: (graceMs) => close({ server, host, entrance, cut }, clock, graceMs),
        };
      } catch (error) {
        entrance.close();
        refusals.close();
        throw error;
      }
    },
  };

  function tlsDoor({ host, server, gateOf }: Inside, kind: GrpcAddress['kind']): Entrance {
    const { fdPassing } = options;
    const door = new TlsDoor({
      tls: tls as MutualTls,
      clock,
      log,
      url: host.url,
      server,
      gateOf,
      perPeer: perPeer(options),
      handshakesMax: options.handshakesMax ?? handshakesMaxDefault,
      handshakeMs: options.handshakeMs ?? handshakeMsDefault,
      fdPassing: kind === 'unix' ? fdPassing : undefined,
      refusals: host.refusals,
    });
    host.callerOf = (call) => door.connectionOf(call.getAuthContext().sslPeerCertificate);
    return door;
  }
}

const connectionsMaxDefault = 10_000;
/** An honest peer is through within milliseconds. */
const handshakesMaxDefault = 512;
/** A peer that says nothing must not hold a place for long. */
const handshakeMsDefault = 10_000;

function perPeer(options: GrpcListenerOptions): PeerBounds {
  return { ...peerBoundsDefault, ...options.perPeer };
}

/** What serves the connections of one listener. */
interface Inside {
  readonly host: GrpcHost;
  readonly server: Server;
  readonly gateOf: (load: PeerLoad) => StreamGate;
}

/** Takes connections and hands them to grpc-js. */
interface Entrance {
  readonly socket: NetServer;
  close(): void;
}

function gates(
  { clock, messageBytesMax, refusals }: GrpcHost,
  services: readonly ServedService[],
  options: GrpcListenerOptions,
): Inside['gateOf'] {
  const methods = new Map<string, CalledMethod>(
    healthMethods.map(({ path, name }) => [path, { name, hasLongBody: false }]),
  );
  for (const { path, method } of servedMethods(services).values()) {
    const hasLongBody = method.methodKind === 'bidi_streaming';
    methods.set(`/${path}`, { name: method.name, hasLongBody });
  }
  const { keepaliveMs = 30_000, keepaliveTimeoutMs = 10_000 } = options;
  const shared = {
    clock,
    bounds: perPeer(options),
    messageBytesMax,
    keepaliveMs,
    keepaliveTimeoutMs,
    methodOf: (path: string) => methods.get(path),
    onRefused: (refusal: Refusal) => refusals.write(refusal),
  };
  return (load) => new StreamGate({ ...shared, load });
}

/** Whoever it was is not known yet. */
function boundConnections(
  socket: NetServer,
  { refusals }: GrpcHost,
  { connectionsMax = connectionsMaxDefault }: GrpcListenerOptions,
): void {
  socket.maxConnections = connectionsMax;
  socket.on('drop', () =>
    refusals.write({
      error: new NsmError('RESOURCE_EXHAUSTED', 'there are too many connections', {
        rule: 'connections',
        expected: `at most ${connectionsMax}`,
        found: 'one more',
      }),
    }),
  );
}

function plainDoor(server: Server, gateOf: Inside['gateOf']): Entrance {
  const injector = gatedInjector(server, gateOf(new PeerLoad()));
  const socket = createServer({ noDelay: true }, (connection) => {
    connection.on('error', () => {});
    injector.injectConnection(connection);
  });
  return { socket, close: () => void socket.close() };
}

function createHost(url: string, options: GrpcListenerOptions, refusals: RefusalLog): GrpcHost {
  return {
    url,
    refusals,
    clock: options.clock,
    guard: options.createGuard?.() ?? createOperationGuard({ clock: options.clock }),
    inFlight: new CallsInFlight<GrpcServedCall>(options.callsMax ?? 10_000),
    messageBytesMax: options.messageBytesMax ?? messageBytesMaxDefault,
    callerOf: () => plaintextCaller,
  };
}

function createServerOf(
  host: GrpcHost,
  services: readonly ServedService[],
  options: GrpcListenerOptions,
): Server {
  const server = new Server({
    'grpc.enable_channelz': 0,
    'grpc.max_receive_message_length': host.messageBytesMax,
    'grpc.max_send_message_length': host.messageBytesMax,
    // Of one connection, and never reached by a peer that heeds its own bound.
    'grpc.max_concurrent_streams': 2 * perPeer(options).callsMax,
  });
  for (const served of servedMethods(services).values()) registerMethod(server, host, served);
  registerHealth(server, host, new Set(services.map(({ descriptor }) => descriptor.typeName)));
  return server;
}

interface Open {
  readonly server: Server;
  readonly host: GrpcHost;
  readonly entrance: Entrance;
  readonly cut: () => void;
}

async function close(
  { server, host, entrance, cut }: Open,
  clock: Clock,
  graceMs: number,
): Promise<void> {
  entrance.close();
  const shutDown = new Promise<void>((resolve) => {
    // A peer that never reads, or never closes its end, is not waited for; grpc-js 1.14 does not call back at all where
    // a connection is about to fail.
    const timer = clock.after(graceMs + lastWordsMs, resolve);
    server.tryShutdown(() => {
      timer.cancel();
      resolve();
    });
  });
  await host.inFlight.drain(clock, graceMs, listenerStopped(host.url));
  await shutDown;
  host.refusals.close();
  cut();
}

/** Returns how to cut every connection that is open then. */
function followSockets(server: NetServer): () => void {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  return () => {
    for (const socket of open) socket.destroy();
  };
}
