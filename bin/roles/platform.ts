// What every role of a process stands on: clocks, randomness, the actor system, and one dialer and listener over
// all bindings. Made once per process; the roles that share a process share it.

import { readFileSync } from 'node:fs';
import type { TokenSource } from '../../actors/connection/tokens.ts';
import { createActorSystem } from '../../actors/runtime/actor-system.ts';
import type { ActorSystem } from '../../actors/runtime/api.ts';
import { NsmError } from '../../protocols/errors.ts';
import { parseUrl } from '../../protocols/nsm/urls.ts';
import { createOperationGuard } from '../../protocols/messages/operation-guard.ts';
import type { Clock, WallClock } from '../../protocols/ports/clock.ts';
import type { HeldFiles } from '../../protocols/ports/descriptors.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { Identity } from '../../protocols/ports/identity.ts';
import type { Refusal } from '../../protocols/ports/refusal.ts';
import type { Dialer, Listener } from '../../protocols/ports/rpc.ts';
import { dialByScheme, listenByScheme } from '../../transports/dial-by-scheme.ts';
import { withReceivedFiles, withSentFiles } from '../../transports/fd-passing/connection-files.ts';
import { createFdPassing } from '../../transports/fd-passing/fd-passing.ts';
import { withRegisteredSockets } from '../../transports/fd-passing/registered-files.ts';
import { HeldDescriptors } from '../../transports/fd-passing/held-descriptors.ts';
import { createGrpc } from '../../transports/grpc/grpc.ts';
import { createMemoryNetwork } from '../../transports/memory/memory-network.ts';
import { BusSeals } from '../../transports/nats/bus-seals.ts';
import { connectNats, type NatsBus } from '../../transports/nats/nats-bus.ts';
import { createNatsDialer } from '../../transports/nats/nats-dialer.ts';
import {
  createNatsListener,
  type NatsListenerOptions,
} from '../../transports/nats/nats-listener.ts';
import { findNamespace } from '../../transports/netlink/namespace-url.ts';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import { systemRandom } from '../../transports/process/system-random.ts';
import { endpointVariable } from '../../transports/spiffe-ts/spiffe.ts';
import {
  type Authorization,
  type AuthorizationConfig,
  createAuthorization,
} from './authorization.ts';
import { obtainIdentity, type OwnIdentity } from './own-identity.ts';

export interface Platform {
  readonly system: ActorSystem;
  readonly clock: Clock;
  readonly wallClock: WallClock;
  readonly random: Random;
  readonly log: Log;
  readonly dialer: Dialer;
  readonly listener: Listener;
  /** The connection to nats-server, where one was asked for. */
  readonly bus: NatsBus | undefined;
  /** Where that bus was asked for; may hold credentials. */
  readonly natsUrl: string | undefined;
  /** Of the running kernel; journaled times are only good within it. */
  readonly bootId: string;
  /** Undefined for a process that runs without TLS. */
  readonly identity?: Identity;
  /** Files that came over unix sockets; absent where there are none. */
  readonly heldFiles?: HeldFiles;
  /** Where the process has an identity: makes its path tokens. Without, they are empty. */
  readonly tokens?: TokenSource;
  /** Where the process has an identity: the rules before what its roles serve. */
  readonly authorization?: Authorization;
  stop(timeoutMs: number): Promise<void>;
}

export interface PlatformOptions {
  readonly name: string;
  readonly log: Log;
  /** Where nats-server listens; undefined for a process without a bus. */
  readonly natsUrl: string | undefined;
  /** SPIFFE ID of nats-server; absent: any that a known trust domain vouches for. */
  readonly natsId?: string | undefined;
  /** Plaintext gRPC on loopback and unix sockets, and no identity. */
  readonly insecure: boolean;
  /** URL of the Workload API; by default SPIFFE_ENDPOINT_SOCKET, unless insecure. */
  readonly workloadApi?: string;
  /** Of the tokens that the identity signs, 10 min by default. */
  readonly maxTokenLifetimeMs?: number;
  readonly authorization?: AuthorizationConfig;
}

const nothingConfigured: AuthorizationConfig = {
  policyFile: undefined,
  policyWasm: undefined,
  auditLog: undefined,
  operators: [],
};
const maxTokenLifetimeMsDefault = 600_000;
/** Longer than any call waits. */
const repeatableMsMin = 60_000;

/**
 * For as long as a token that came with it may live, an operation that comes late is known as such, and a grant that comes
 * again is one that stands in the audit log.
 */
const repeatableMs = ({
  maxTokenLifetimeMs = maxTokenLifetimeMsDefault,
}: PlatformOptions): number => Math.max(repeatableMsMin, maxTokenLifetimeMs);

/** Errors: FAILED_PRECONDITION (no Workload API named), UNAUTHENTICATED (no identity), those of the bus. */
export async function createPlatform(options: PlatformOptions): Promise<Platform> {
  const own = options.insecure ? undefined : await ownIdentityOf(options);
  try {
    return await createPlatformWith(own, options);
  } catch (error) {
    await own?.identity.close();
    throw error;
  }
}

async function createPlatformWith(
  own: OwnIdentity | undefined,
  options: PlatformOptions,
): Promise<Platform> {
  const { name, log } = options;
  const clock = systemClock;
  const memory = createMemoryNetwork({ clock, ...own });
  const held = new HeldDescriptors({ find: findNamespace });
  const files = { held, clock, wallClock: systemWallClock };
  const authorization = own && (await authorizationOf(own, options));
  const bus = await busOf(own, options).catch((error: unknown) => {
    authorization?.stop();
    throw error;
  });
  const serving = {
    createGuard: () => createOperationGuard({ clock, keepKeyMs: repeatableMs(options) }),
    ...(authorization && {
      onRefused: (refusal: Refusal) => authorization.refused(refusal),
    }),
  };
  const grpc = createGrpc({
    clock,
    log,
    fdPassing: createFdPassing({ clock, log }),
    ...(own === undefined
      ? { insecure: options.insecure }
      : { tls: { ...own, wallClock: systemWallClock }, callHeaders: own.callHeaders }),
    ...serving,
  });
  const nats = bus && natsBinding(bus, own, serving);
  const bindings = { memory, grpc, ...(nats === undefined ? {} : { nats }) };
  const system = createActorSystem({ name, clock, random: systemRandom, log });
  const byScheme = dialByScheme(bindings);
  // Connections in plaintext carry no descriptors.
  const dialer = own === undefined ? byScheme : withSentFiles(byScheme, files);
  const listener = listenByScheme(bindings);
  return {
    system,
    clock,
    wallClock: systemWallClock,
    random: systemRandom,
    log,
    dialer,
    listener: {
      listen: (url, services) =>
        listener.listen(url, withRegisteredSockets(withReceivedFiles(services, held), files)),
    },
    heldFiles: held,
    bus,
    ...(own === undefined ? {} : { identity: own.identity, tokens: own.tokens }),
    ...(authorization && { authorization }),
    natsUrl: options.natsUrl,
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    async stop(timeoutMs) {
      await system.stop(timeoutMs);
      await dialer.close();
      await bus?.close();
      nats?.close();
      authorization?.stop();
      await own?.identity.close();
      held.close();
    },
  };
}

function authorizationOf(own: OwnIdentity, options: PlatformOptions): Promise<Authorization> {
  const { name, log, authorization: config = nothingConfigured } = options;
  const clocks = { clock: systemClock, wallClock: systemWallClock };
  const setup = { ...own, name, ...clocks, log, config };
  return createAuthorization({ ...setup, repeatableMs: repeatableMs(options) });
}

async function busOf(
  own: OwnIdentity | undefined,
  { name, log, natsUrl, natsId }: PlatformOptions,
): Promise<NatsBus | undefined> {
  if (natsUrl === undefined) return undefined;
  const tls = own && {
    tls: { identity: own.identity, ...(natsId === undefined ? {} : { serverId: natsId }) },
  };
  return connectNats({ url: natsUrl, name, clock: systemClock, log, ...tls });
}

function natsBinding(bus: NatsBus, own: OwnIdentity | undefined, serving: NatsListenerOptions) {
  const { log } = bus;
  const seals = own && { seals: new BusSeals({ ...own, wallClock: systemWallClock, log }) };
  return {
    dialer: createNatsDialer(bus, { ...own, ...seals }),
    listener: createNatsListener(bus, { ...seals, ...serving }),
    close: () => seals?.seals.close(),
  };
}

function ownIdentityOf(options: PlatformOptions): Promise<OwnIdentity> {
  const { log, maxTokenLifetimeMs = maxTokenLifetimeMsDefault } = options;
  const endpoint = options.workloadApi ?? process.env[endpointVariable];
  if (endpoint !== undefined) return obtainIdentity({ endpoint, maxTokenLifetimeMs, log });
  throw new NsmError('FAILED_PRECONDITION', 'this process is to prove who it is, and cannot', {
    rule: endpointVariable,
    expected:
      'the URL of a SPIFFE Workload API: a SPIRE agent, or "vwire identity" for development',
    found: 'no such variable',
    remedy: `set ${endpointVariable}, or VWIRE_INSECURE=true for plaintext on loopback and unix sockets`,
  });
}

/** The URL of nats-server where one of the component URLs needs the bus. */
export function natsUrlFor(urls: readonly string[], natsUrl: string): string | undefined {
  return urls.some((url) => parseUrl(url).scheme === 'nats') ? natsUrl : undefined;
}

/** The URL that peers elsewhere reach a component by: the first that leaves the machine, else the first. */
export function publicUrlOf(urls: readonly string[]): string {
  const isPublic = (url: string): boolean =>
    ['tcp', 'nats', 'memory'].includes(parseUrl(url).scheme);
  const url = urls.find(isPublic) ?? urls[0];
  if (url !== undefined) return url;
  throw new NsmError('INVALID_ARGUMENT', 'a component listens nowhere', { rule: 'NSM_LISTEN_ON' });
}
