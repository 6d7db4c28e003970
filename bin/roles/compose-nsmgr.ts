// Puts a manager together: the registry as its node sees it, and the connections of its node's workloads.

import { createConnections } from '../../actors/connection/connections.ts';
import { createConnectionTable } from '../../actors/connection/connection-table.ts';
import { emptyTokens } from '../../actors/connection/tokens.ts';
import { createDiscovery, type Discovery } from '../../actors/discovery/discovery.ts';
import { managerHop } from '../../actors/manager/manager-hop.ts';
import { createManagerRegistry } from '../../actors/manager/registry/manager-registry.ts';
import { registryClients } from '../../actors/registry/registry-clients.ts';
import { createDecisions, type Decisions } from '../../actors/selection/decisions.ts';
import { nodeLeaseMsDefault } from '../../protocols/nsm/node-lease.ts';
import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { ServedService } from '../../protocols/ports/rpc.ts';
import { type AgedTable, withAges } from './connection-ages.ts';
import { askForwarders, inspectionService } from './inspection.ts';
import { registerNode } from './node-entry.ts';
import { nextHopsOf } from './next-hops.ts';
import { type Platform, publicUrlOf } from './platform.ts';
import { closeAll, listenOnAll, type RunningRole } from './running-role.ts';
import { timeLeft, unregisterStopMs } from './stop-times.ts';

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
  /** The node that the registry shows this manager under; absent: it shows none. */
  readonly node?: string;
  /** Life of the lease under which it is shown. */
  readonly nodeLeaseMs?: number;
  /** As in `ManagerRegistrySetup`. */
  readonly endpointGraceMs?: number;
  /** Closes its connections when it stops, instead of leaving them to the next life. */
  readonly closesAtStop?: boolean;
}

const ownCallTimeoutMs = 15_000;

export async function composeNsmgr(
  platform: Platform,
  options: NsmgrOptions,
): Promise<RunningRole> {
  const { clock, wallClock, log, dialer, random } = platform;
  const { name, journal, maxTokenLifetimeMs } = options;
  const upstream = registryClients(dialer.dial(options.registryUrl));
  const { nextHop, nextHopMonitors } = nextHopsOf(platform, name);
  const discovery = createDiscovery({ clients: upstream, clock, wallClock, random, log });
  const registry = createManagerRegistry({
    upstream,
    discovery,
    clock,
    wallClock,
    random,
    log,
    publicUrl: publicUrlOf(options.listenOn),
    nodeLabels: options.nodeLabels,
    ...(options.endpointGraceMs === undefined ? {} : { endpointGraceMs: options.endpointGraceMs }),
  });
  const forwarders = () => registry.localEndpoints(options.forwarderServiceName);
  const table = tableOf(platform, options);
  const decisions = createDecisions({ wallClock, random });
  const connections = createConnections({
    ...platform,
    name,
    hop: managerHop({
      name,
      log,
      discovery,
      decisions,
      nextHop,
      forwarderServiceName: options.forwarderServiceName,
      forwarders,
      excludedPrefixes: options.excludedPrefixes,
    }),
    table,
    tokens: platform.tokens ?? emptyTokens(wallClock, maxTokenLifetimeMs),
    nextHopMonitors,
    ownCallTimeoutMs,
  });
  connections.directory.adopt(await table.load());
  const inspection = inspectionOf(platform, options, { table, discovery, decisions, forwarders });
  const listening = await serveManager(platform, options, [
    ...connections.services,
    ...registry.services,
    inspection,
  ]);
  return {
    urls: listening.urls,
    // As a rule stopping a manager ends no connection: the next life takes them up from the journal.
    async stop(timeoutMs) {
      const left = timeLeft(platform.clock, timeoutMs);
      await listening.unregister(timeoutMs);
      if (options.closesAtStop === true) await connections.directory.closeAll(left());
      await listening.close(left());
      registry.close();
      nextHopMonitors.close();
      discovery.close();
      await journal?.close();
    },
  };
}

function tableOf({ clock, log, bootId }: Platform, options: NsmgrOptions): AgedTable {
  const { journal, maxTokenLifetimeMs: lifetimeMsMax } = options;
  const kept = journal === undefined ? {} : { journal };
  return withAges(createConnectionTable({ clock, log, bootId, lifetimeMsMax, ...kept }), clock);
}

function inspectionOf(
  platform: Platform,
  options: NsmgrOptions,
  parts: {
    readonly table: AgedTable;
    readonly discovery: Discovery;
    readonly decisions: Decisions;
    readonly forwarders: () => readonly NetworkServiceEndpoint[];
  },
): ServedService {
  return inspectionService({
    platform,
    role: 'nsmgr',
    name: options.name,
    node: options.node ?? '',
    table: parts.table,
    decisions: parts.decisions,
    forwarders: parts.forwarders,
    details: async (call) => ({
      registryUrl: options.registryUrl,
      staleServices: parts.discovery.services
        .filter(({ isStale }) => isStale)
        .map((each) => each.name),
      forwarders: [...(await askForwarders(platform, parts.forwarders(), call))],
    }),
  });
}

/** Listens, and shows the node in the registry. */
async function serveManager(
  platform: Platform,
  { name, node, nodeLeaseMs, listenOn }: NsmgrOptions,
  services: readonly ServedService[],
) {
  const ownUrl = `memory:${name} itself`;
  const listening = await listenOnAll(platform.listener, [...listenOn, ownUrl], services);
  const entry =
    node === undefined
      ? undefined
      : registerNode(platform, {
          node,
          manager: name,
          url: publicUrlOf(listenOn),
          registryUrl: ownUrl,
          leaseMs: nodeLeaseMs ?? nodeLeaseMsDefault,
        });
  return {
    urls: listening.map(({ url }) => url).filter((url) => url !== ownUrl),
    unregister: (timeoutMs: number) => entry?.stop(Math.min(timeoutMs, unregisterStopMs)),
    close: (timeoutMs: number) => closeAll(listening, timeoutMs),
  };
}
