// What a registration says to its registry: Register, Unregister, and the watch on its own name.
// NSM concept: the registry client chain. Every call has a deadline and carries the registry path of a first client.

import { create } from '@bufbuild/protobuf';
import { asNsmError, describeError } from '../../protocols/errors.ts';
import {
  type NetworkService,
  type NetworkServiceEndpoint,
  NetworkServiceEndpointQuerySchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { Replacements } from '../../protocols/messages/replaced-connection.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Headers } from '../../protocols/ports/rpc.ts';
import type { RegistryClients } from '../registry/registry-clients.ts';

export interface RegistryCallsSetup {
  readonly registry: RegistryClients;
  /** Metadata of each call, for example a token. */
  readonly headers?: () => Headers;
  /** For one try; 15 s in the reference. */
  readonly attemptTimeoutMs?: number;
}

export interface RegisterCall {
  readonly endpoint: NetworkServiceEndpoint;
  readonly services: readonly NetworkService[];
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** A path without segments, as the first registry client of a chain sends it. */
const emptyPath: Headers = { path: '{"Index":0,"PathSegments":null}' };

/** Services first, so that whoever finds the endpoint finds its service too. */
export async function register(
  setup: RegistryCallsSetup,
  { endpoint, services, signal, log }: RegisterCall,
): Promise<NetworkServiceEndpoint> {
  const options = { ...callOptions(setup), signal };
  for (const service of services) {
    try {
      await setup.registry.services.register(service, options);
    } catch (error) {
      // Another Endpoint's identity has registered the same service: it is there, which is all that is needed.
      const { code } = asNsmError(error);
      if (code !== 'PERMISSION_DENIED' && code !== 'ALREADY_EXISTS') throw error;
      log.warn('network service belongs to another identity, used as it is', {
        service: service.name,
        error: describeError(error),
      });
    }
  }
  return setup.registry.endpoints.register(endpoint, { ...options, passesSocket: true });
}

export interface WatchSetup extends RegistryCallsSetup {
  readonly clock: Pick<Clock, 'nowMs'>;
}

export interface OwnWatch {
  readonly name: string;
  readonly signal: AbortSignal;
  /** The connection was replaced and the watch opened again: what happened between the two was not seen. */
  readonly onReplaced: () => void;
}

/** Resolves with the reason once the registry ends the watch or tells a deletion: it stopped or lost its data. */
export async function untilLost(setup: WatchSetup, watch: OwnWatch): Promise<string> {
  const { clock } = setup;
  const replacements = new Replacements();
  for (;;) {
    const openedMs = clock.nowMs();
    try {
      return await untilEnd(setup, watch);
    } catch (error) {
      const mayReopen = replacements.mayReopen(error, clock.nowMs() - openedMs);
      if (watch.signal.aborted || !mayReopen) return describeError(error);
    }
    watch.onReplaced();
  }
}

async function untilEnd(setup: RegistryCallsSetup, { name, signal }: OwnWatch): Promise<string> {
  const query = create(NetworkServiceEndpointQuerySchema, {
    networkServiceEndpoint: { name },
    watch: true,
  });
  const stream = setup.registry.endpoints.find(query, { signal, headers: headersOf(setup) });
  for await (const { deleted } of stream) if (deleted) return 'the registry deleted it';
  return 'the registry ended its watch';
}

export async function unregister(
  setup: RegistryCallsSetup,
  endpoint: NetworkServiceEndpoint,
  timeoutMs: number,
): Promise<void> {
  const options = { ...callOptions(setup), timeoutMs, passesSocket: true };
  await setup.registry.endpoints.unregister(endpoint, options);
}

function callOptions(setup: RegistryCallsSetup): { timeoutMs: number; headers: Headers } {
  return { timeoutMs: setup.attemptTimeoutMs ?? 15_000, headers: headersOf(setup) };
}

function headersOf(setup: RegistryCallsSetup): Headers {
  return { ...emptyPath, ...setup.headers?.() };
}
