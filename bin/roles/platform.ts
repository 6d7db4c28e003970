// What every role of a process stands on: clocks, randomness, the actor system, and one dialer and listener over
// all bindings. Made once per process; the roles that share a process share it.

import { readFileSync } from 'node:fs';
import type { TokenSource } from '../../actors/connection/tokens.ts';
import { createActorSystem } from '../../actors/runtime/actor-system.ts';
import type { ActorSystem } from '../../actors/runtime/api.ts';
import { NsmError } from '../../protocols/errors.ts';
import { parseUrl } from '../../protocols/nsm/urls.ts';
import type { Clock, WallClock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { Dialer, Listener } from '../../protocols/ports/rpc.ts';
import { dialByScheme, listenByScheme } from '../../transports/dial-by-scheme.ts';
import { createGrpc } from '../../transports/grpc/grpc.ts';
import { createMemoryNetwork } from '../../transports/memory/memory-network.ts';
import { connectNats, type NatsBus } from '../../transports/nats/nats-bus.ts';
import { createNatsDialer } from '../../transports/nats/nats-dialer.ts';
import { createNatsListener } from '../../transports/nats/nats-listener.ts';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import { systemRandom } from '../../transports/process/system-random.ts';

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
  /** Where the process has an identity: makes its path tokens. Without, they are empty. */
  readonly tokens?: TokenSource;
  stop(timeoutMs: number): Promise<void>;
}

export interface PlatformOptions {
  readonly name: string;
  readonly log: Log;
  /** Where nats-server listens; undefined for a process without a bus. */
  readonly natsUrl: string | undefined;
  /** Plaintext gRPC on loopback and unix sockets. */
  readonly insecure: boolean;
}

export async function createPlatform(options: PlatformOptions): Promise<Platform> {
  const { name, log } = options;
  const clock = systemClock;
  const bus =
    options.natsUrl === undefined
      ? undefined
      : await connectNats({ url: options.natsUrl, name, clock, log });
  const memory = createMemoryNetwork({ clock });
  const grpc = createGrpc({ clock, log, insecure: options.insecure });
  const nats = bus && { dialer: createNatsDialer(bus), listener: createNatsListener(bus) };
  const bindings = { memory, grpc, ...(nats === undefined ? {} : { nats }) };
  const system = createActorSystem({ name, clock, random: systemRandom, log });
  const dialer = dialByScheme(bindings);
  return {
    system,
    clock,
    wallClock: systemWallClock,
    random: systemRandom,
    log,
    dialer,
    listener: listenByScheme(bindings),
    bus,
    natsUrl: options.natsUrl,
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    async stop(timeoutMs) {
      await system.stop(timeoutMs);
      await dialer.close();
      await bus?.close();
    },
  };
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
