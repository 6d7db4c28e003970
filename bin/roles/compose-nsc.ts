// Puts a client together: one client actor per requested service, all through one manager.

import { clientBehavior } from '../../actors/client/client.ts';
import type { ClientMessage, ClientStatus } from '../../actors/client/client-setup.ts';
import { Exclusions } from '../../actors/client/exclusions.ts';
import { emptyTokens } from '../../actors/connection/tokens.ts';
import type { ActorRef } from '../../actors/runtime/api.ts';
import { describeError, NsmError } from '../../protocols/errors.ts';
import { type AwarenessGroups, groupOf } from '../../protocols/nsm/awareness-groups.ts';
import { defaultInterfaceName } from '../../protocols/nsm/interface-name.ts';
import type { Mechanism } from '../../protocols/nsm/gen/connection_pb.ts';
import { kernelMechanism } from '../../protocols/nsm/kernel-mechanism.ts';
import { mechanismType } from '../../protocols/nsm/mechanism.ts';
import { memifMechanism } from '../../protocols/nsm/memif-mechanism.ts';
import type { Liveness } from '../../protocols/ports/liveness.ts';
import type { ServiceUrl } from '../../protocols/nsm/service-url.ts';
import { nextHopsOf } from './next-hops.ts';
import type { Platform } from './platform.ts';
import type { RunningRole } from './running-role.ts';

export interface NscOptions {
  readonly name: string;
  /** URL of the manager. */
  readonly connectTo: string;
  readonly services: readonly ServiceUrl[];
  /** Added to every request's labels where they are absent. */
  readonly labels: Readonly<Record<string, string>>;
  readonly requestTimeoutMs: number;
  readonly maxTokenLifetimeMs: number;
  /** `inode://` or `file://` URL of the client's own namespace. */
  readonly netns: string;
  /** Binds the client to one Endpoint; healing keeps it. */
  readonly endpointName?: string;
  /** Absent: nothing is known of the data plane, and healing goes by what the control plane says. */
  readonly liveness?: Liveness;
  /** Requests whose Endpoints may give the same addresses. */
  readonly awarenessGroups?: AwarenessGroups;
  readonly retry?: { readonly firstMs: number; readonly mostMs: number };
  readonly onStatus: (service: ServiceUrl, connectionId: string, status: ClientStatus) => void;
}

const retryDefault = { firstMs: 100, mostMs: 5_000 };

/** Errors: INVALID_ARGUMENT for a scheme of which nothing here can be the end. */
function preferenceFor(service: ServiceUrl, netns: string, interfaceName: string): Mechanism {
  switch (service.mechanismType) {
    case mechanismType.kernel:
      return kernelMechanism({ netnsUrl: netns, interfaceName });
    case mechanismType.memif:
      return memifMechanism({ inodeUrl: netns });
    default:
      throw new NsmError('INVALID_ARGUMENT', 'a client cannot be the end of such a wire', {
        rule: `mechanism of ${service.networkService}`,
        expected: 'kernel://, or memif:// for a workload that drives memif itself',
        found: `${service.mechanismType.toLowerCase()}://`,
      });
  }
}

export function composeNsc(platform: Platform, options: NscOptions): RunningRole {
  const { log, dialer, wallClock, system } = platform;
  const judge = platform.authorization?.answerJudge(options.name);
  const { nextHop, nextHopMonitors: monitors } = nextHopsOf(platform, options.name, judge);
  const tokens = platform.tokens ?? emptyTokens(wallClock, options.maxTokenLifetimeMs);
  const idOf = (index: number): string => `${options.name}-${index}`;
  const groups = new Map(
    options.services.map((service, index) => [
      idOf(index),
      groupOf(options.awarenessGroups ?? [], service),
    ]),
  );
  const exclusions = new Exclusions((connectionId) => groups.get(connectionId));
  // All of them before the first is started: one that cannot be refuses the whole.
  const wanted = options.services.map((service) => {
    const interfaceName =
      service.interfaceName ?? defaultInterfaceName(service.networkService, platform.random);
    return { service, preferences: [preferenceFor(service, options.netns, interfaceName)] };
  });
  const clients = wanted.map(({ service, preferences }, index): ActorRef<ClientMessage> => {
    const connectionId = idOf(index);
    const behavior = clientBehavior({
      ...options,
      wallClock,
      tokens,
      dialer,
      nextHop,
      monitors,
      connectionId,
      networkService: service.networkService,
      labels: { ...options.labels, ...service.labels },
      ...(service.interfaceName === undefined ? {} : { interfaceName: service.interfaceName }),
      preferences,
      retry: options.retry ?? retryDefault,
      exclusions,
      onStatus: (status) => {
        if (status.phase === 'closed') exclusions.release(connectionId);
        options.onStatus(service, connectionId, status);
      },
    });
    return system.spawn(behavior, connectionId);
  });
  return {
    urls: [],
    async stop(timeoutMs) {
      const closing = clients.map((client) =>
        system.ask<ClientMessage, void>(client, (replyTo) => ({ type: 'close', replyTo }), {
          timeoutMs,
        }),
      );
      for (const result of await Promise.allSettled(closing)) {
        if (result.status === 'fulfilled') continue;
        log.warn('a connection could not be closed; it expires by itself', {
          error: describeError(result.reason),
        });
      }
      monitors.close();
    },
  };
}
