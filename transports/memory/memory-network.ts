// The binding inside a process: `memory:` URLs name handlers directly. Messages are handed over as they are, not
// copied and not encoded; nobody may change one. Invariants: a call never runs inside its caller's turn, so the
// order of events is the one a bus would give; a call ends for its caller at its deadline whatever the handler does.

import type { Message } from '@bufbuild/protobuf';
import { NsmError } from '../../protocols/errors.ts';
import type { OperationGuard } from '../../protocols/messages/operation-guard.ts';
import { createOperationGuard } from '../../protocols/messages/operation-guard.ts';
import type { Invoker } from '../../protocols/messages/rpc-client.ts';
import { createChannel } from '../../protocols/messages/rpc-client.ts';
import {
  CallsInFlight,
  listenerStopped,
  servedMethods,
} from '../../protocols/messages/served-call.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type {
  CallHeaders,
  Channel,
  Dialer,
  Listener,
  Listening,
  Peer,
  ServedService,
} from '../../protocols/ports/rpc.ts';
import type { MemoryCaller, MemoryHost } from './memory-host.ts';
import { startMemoryStream } from './memory-stream.ts';
import { callMemoryUnary } from './memory-unary.ts';

export interface MemoryNetworkOptions {
  readonly clock: Clock;
  /** Both ends of every call: this process. Without an identity by default. */
  readonly peer?: () => Peer;
  readonly callHeaders?: CallHeaders;
  /** Calls in flight per listener; beyond it a call is refused with RESOURCE_EXHAUSTED. */
  readonly callsMax?: number;
  /** The guard of one listener; by default each has its own with default bounds. */
  readonly createGuard?: () => OperationGuard;
}

export interface MemoryNetwork {
  readonly dialer: Dialer;
  readonly listener: Listener;
}

export function createMemoryNetwork(options: MemoryNetworkOptions): MemoryNetwork {
  const hosts = new Map<string, MemoryHost>();
  return { dialer: createDialer(hosts, options), listener: createListener(hosts, options) };
}

const withoutIdentity: Peer = Object.freeze({ binding: 'memory' });

function createDialer(
  hosts: ReadonlyMap<string, MemoryHost>,
  options: MemoryNetworkOptions,
): Dialer {
  const { clock, peer = () => withoutIdentity, callHeaders } = options;
  const channels = new Map<string, Channel>();
  let closed = false;
  const host = (url: string): MemoryHost | NsmError => {
    if (closed) return new NsmError('UNAVAILABLE', 'the dialer is closed', { found: url });
    return (
      hosts.get(url) ??
      new NsmError('UNAVAILABLE', 'nobody listens at this URL', { rule: 'listener', found: url })
    );
  };
  return {
    dial: (url) => {
      checkUrl(url);
      let channel = channels.get(url);
      if (channel === undefined) {
        channel = createChannel(
          url,
          createInvoker({ clock, url, peer, callHeaders, host: () => host(url) }),
        );
        // A URL costs nothing to dial again; the cache only saves the common ones from being rebuilt.
        if (channels.size < channelsMax) channels.set(url, channel);
      }
      return channel;
    },
    close: () => {
      closed = true;
      channels.clear();
      return Promise.resolve();
    },
  };
}

const channelsMax = 1024;

function createInvoker(caller: MemoryCaller): Invoker {
  return {
    unary: (method, request, options): Promise<Message> =>
      callMemoryUnary(caller, method, request, options),
    stream: (method, requests, options) => startMemoryStream(caller, method, requests, options),
  };
}

function createListener(hosts: Map<string, MemoryHost>, options: MemoryNetworkOptions): Listener {
  const createGuard = options.createGuard ?? (() => createOperationGuard({ clock: options.clock }));
  return {
    listen: (url: string, services: readonly ServedService[]): Promise<Listening> => {
      try {
        checkUrl(url);
        if (hosts.has(url)) {
          throw new NsmError('ALREADY_EXISTS', 'the URL is taken', {
            rule: 'listener',
            found: url,
          });
        }
        const host: MemoryHost = {
          url,
          methods: servedMethods(services),
          calls: new CallsInFlight(options.callsMax ?? 10_000),
          guard: createGuard(),
        };
        hosts.set(url, host);
        return Promise.resolve({
          url,
          close: (graceMs) => closeHost(hosts, host, options.clock, graceMs),
        });
      } catch (error) {
        return Promise.reject(error);
      }
    },
  };
}

async function closeHost(
  hosts: Map<string, MemoryHost>,
  host: MemoryHost,
  clock: Clock,
  graceMs: number,
): Promise<void> {
  // The URL may already belong to a successor.
  if (hosts.get(host.url) === host) hosts.delete(host.url);
  await host.calls.drain(clock, graceMs, listenerStopped(host.url));
}

function checkUrl(url: string): void {
  if (!/^memory:./.test(url)) {
    throw new NsmError('INVALID_ARGUMENT', 'not a URL inside the process', {
      rule: 'memory-url',
      expected: 'memory:<name>',
      found: JSON.stringify(url.slice(0, 200)),
    });
  }
}
