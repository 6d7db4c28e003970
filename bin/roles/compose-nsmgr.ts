// Puts a manager together: the registry as its node sees it, and the connections of its node's workloads.

import { createConnections } from '../../actors/connection/connections.ts';
import { createConnectionTable } from '../../actors/connection/connection-table.ts';
import { createNextHop } from '../../actors/connection/next-hop.ts';
import { createNextHopMonitors } from '../../actors/connection/next-hop-monitors.ts';
import { emptyTokens } from '../../actors/connection/tokens.ts';
import { createDiscovery } from '../../actors/discovery/discovery.ts';
import { managerHop } from '../../actors/manager/manager-hop.ts';
import { createManagerRegistry } from '../../actors/manager/registry/manager-registry.ts';
import { registryClients } from '../../actors/registry/registry-clients.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import { type Platform, publicUrlOf } from './platform.ts';
import { closeAll, listenOnAll, type RunningRole } from './running-role.ts';

export interface NsmgrOptions {
  readonly name: string;
  readonly listenOn: readonly string[];
  readonly registryUrl: string;
  readonly forwarderServiceName: string;
  readonly maxTokenLifetimeMs: number;
  /** `nodeName` and so on: added to what this node's Endpoints register. */
  readonly nodeLabels: Readonly<Record<string, string>>;
  readonly excludedPrefixes: () => readonly string[];
  readonly journal?: Journal;
}

const ownCallTimeoutMs = 15_000;

export async function composeNsmgr(
  platform: Platform,
  options: NsmgrOptions,
): Promise<RunningRole> {
  const { clock, wallClock, log, dialer, listener, random } = platform;
  const { name, journal, maxTokenLifetimeMs } = options;
  const upstream = registryClients(dialer.dial(options.registryUrl));
  const registry = createManagerRegistry({
    upstream,
    clock,
    wallClock,
    random,
    log,
    publicUrl: publicUrlOf(options.listenOn),
    nodeLabels: options.nodeLabels,
  });
  const discovery = createDiscovery({ clients: upstream, clock, wallClock, random, log });
  const nextHopMonitors = createNextHopMonitors({ name, dialer, clock, log });
  const table = createConnectionTable({
    clock,
    log,
    bootId: platform.bootId,
    lifetimeMsMax: maxTokenLifetimeMs,
    ...(journal === undefined ? {} : { journal }),
  });
  const connections = createConnections({
    ...platform,
    name,
    hop: managerHop({
      name,
      log,
      discovery,
      nextHop: createNextHop({
        name,
        dialer,
        clock,
        log,
      }),
      forwarderServiceName: options.forwarderServiceName,
      forwarders: () => registry.localEndpoints(options.forwarderServiceName),
      excludedPrefixes: options.excludedPrefixes,
    }),
    table,
    tokens: emptyTokens(wallClock, maxTokenLifetimeMs),
    nextHopMonitors,
    ownCallTimeoutMs,
  });
  connections.directory.adopt(await table.load());
  const listening = await listenOnAll(listener, options.listenOn, [
    ...connections.services,
    ...registry.services,
  ]);
  return {
    urls: listening.map(({ url }) => url),
    // Stopping a manager ends no connection: the next life takes them up from the journal.
    async stop(timeoutMs) {
      await closeAll(listening, timeoutMs);
      registry.close();
      nextHopMonitors.close();
      discovery.close();
      await journal?.close();
    },
  };
}
