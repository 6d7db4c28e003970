// Puts a forwarder together: it looks at what an earlier life left, listens, and registers at its manager as soon as
// that is there. Invariant: no Request reaches a wire before its adoption is over.

import { create } from '@bufbuild/protobuf';
import { type Connections, createConnections } from '../../actors/connection/connections.ts';
import { askHeld } from '../../actors/connection/held-behind.ts';
import { holdingHop } from '../../actors/connection/holding-hop.ts';
import type { Call } from '../../actors/connection/hop.ts';
import { createConnectionTable } from '../../actors/connection/connection-table.ts';
import { emptyTokens } from '../../actors/connection/tokens.ts';
import { createDiscovery } from '../../actors/discovery/discovery.ts';
import { spawnEndpointRegistration } from '../../actors/endpoint/endpoint-registration.ts';
import { type RegistryClients, registryClients } from '../../actors/registry/registry-clients.ts';
import { packetsThrough } from '../../actors/forwarder/packets-through.ts';
import { type Completion, createCompletion } from '../../actors/forwarder/completion.ts';
import { forwarderHop } from '../../actors/forwarder/forwarder-hop.ts';
import type { RepairReport } from '../../actors/forwarder/reconciler.ts';
import { createDecisions, type Decisions } from '../../actors/selection/decisions.ts';
import { createTunnelPorts } from '../../actors/forwarder/tunnel-ports.ts';
import { createVniTable } from '../../actors/forwarder/vni-table.ts';
import {
  type NetworkServiceEndpoint,
  NetworkServiceEndpointSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { withMechanisms } from '../../protocols/nsm/forwarder-mechanisms.ts';
import type {
  Dataplane,
  DataplaneCapabilities,
  PortRange,
} from '../../protocols/ports/dataplane.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { Namespaces } from '../../protocols/ports/namespaces.ts';
import type { TunnelKeys } from '../../protocols/ports/tunnel-keys.ts';
import { guarded } from './authorization.ts';
import { type AgedTable, withAges } from './connection-ages.ts';
import { type CountedTable, withLoads } from './next-hop-loads.ts';
import { findWires, type ForwarderWires } from './forwarder-wires.ts';
import { inspectionService } from './inspection.ts';
import { nextHopsOf } from './next-hops.ts';
import { type Platform, publicUrlOf } from './platform.ts';
import { registeredSoon } from './registered-soon.ts';
import { closeAll, listenOnAll, type RunningRole } from './running-role.ts';
import { servedAfter } from './served-after.ts';
import { timeLeft, unregisterStopMs } from './stop-times.ts';

export interface ForwarderOptions {
  readonly name: string;
  readonly domain: string;
  readonly node: string;
  /** Network service under which forwarders register (`NSM_NSNAME`). */
  readonly networkServiceName: string;
  readonly labels: Readonly<Record<string, string>>;
  /** URL of the node's manager. */
  readonly connectTo: string;
  readonly listenOn: string;
  readonly maxTokenLifetimeMs: number;
  readonly tunnelIp: string;
  readonly vxlanPort: number;
  readonly underlayMtu: number;
  readonly dataplane: Dataplane;
  /** As probed. */
  readonly capabilities: DataplaneCapabilities;
  /** Types that go before others (`NSM_MECHANISM_PRIORITY`); default: none does. */
  readonly mechanismPriority?: readonly string[];
  /** Where the data plane makes tunnels that need keys: those of which it holds the secrets. */
  readonly tunnelKeys?: TunnelKeys | undefined;
  readonly journal?: Journal;
  /** Absent: no namespace is known to be the one that it was, and where the manager is away no interface is made again. */
  readonly namespaces?: Namespaces;
  /** Pause between two looks over all wires, beside what the data plane tells at once. */
  readonly reconcileIntervalMs?: number;
  /** UDP ports that WireGuard tunnels listen on. */
  readonly wireguardPorts?: PortRange;
  /** Takes its wires down when it stops, instead of leaving them to the next life. */
  readonly closesAtStop?: boolean;
  /** Wires that nobody refreshes are kept as long as they are alive. */
  readonly keepsWhileAlive?: boolean;
}

/** Time for ending one connection, or undoing, on the forwarder's own account. */
const ownCallTimeoutMs = 15_000;
const reconcileIntervalMsDefault = 30_000;
const vxlanPortDefault = 4789;

export async function composeForwarder(
  platform: Platform,
  options: ForwarderOptions,
): Promise<RunningRole> {
  const { clock, wallClock, log, dialer, random } = platform;
  const { name, dataplane, maxTokenLifetimeMs, keepsWhileAlive = false } = options;
  const counted = tableOf(platform, options);
  const table = withAges(counted, clock);
  const decisions = createDecisions({ wallClock, random });
  const own = { vnis: createVniTable(), tunnelPorts: createTunnelPorts(options.wireguardPorts) };
  const completion = completionOf(platform, options);
  const wires = await findWires(platform, {
    name,
    table,
    dataplane,
    completion,
    ...own,
    tunnelKeys: options.tunnelKeys,
    quarantineMs: maxTokenLifetimeMs,
    reconcileIntervalMs: options.reconcileIntervalMs ?? reconcileIntervalMsDefault,
    keepsExpired: keepsWhileAlive,
  });
  const clients = registryClients(dialer.dial(options.connectTo));
  const { nextHop, nextHopMonitors, behind } = nextHopsOf(platform, name);
  const onNodeAway = (managerUrl: string): void => nextHopMonitors.lost(managerUrl);
  const discovery = createDiscovery({ clients, clock, wallClock, random, log, onNodeAway });
  const hop = forwarderHop({
    ...options,
    clock,
    log,
    random,
    ...own,
    completion,
    discovery,
    decisions,
    loadOf: (endpointName) => counted.loadOf(endpointName),
    nextHop,
    node: { domain: options.domain, node: options.node },
    vxlanPort: options.vxlanPort || vxlanPortDefault,
    undoTimeoutMs: ownCallTimeoutMs,
  });
  const connections = createConnections({
    ...platform,
    name,
    hop: platform.heldFiles === undefined ? hop : holdingHop(hop, platform.heldFiles),
    table,
    tokens: platform.tokens ?? emptyTokens(wallClock, maxTokenLifetimeMs),
    nextHopMonitors,
    ownCallTimeoutMs,
    ...(keepsWhileAlive && { keeper: { behind, dataplane: packetsThrough(dataplane, clock) } }),
  });
  return serveForwarder(platform, options, {
    connections,
    table,
    wires,
    adopted: wires.takeUp(connections.directory),
    clients,
    decisions,
    release() {
      wires.unwatch();
      nextHopMonitors.close();
      discovery.close();
    },
  });
}

function tableOf({ clock, log, bootId }: Platform, options: ForwarderOptions): CountedTable {
  const { journal, maxTokenLifetimeMs: lifetimeMsMax } = options;
  const kept = journal === undefined ? {} : { journal };
  return withLoads(createConnectionTable({ clock, log, bootId, lifetimeMsMax, ...kept }));
}

function completionOf(
  { dialer, clock, log }: Platform,
  { name, connectTo, dataplane, namespaces }: ForwarderOptions,
): Completion {
  const asking = askHeld({ name, dialer, clock });
  const isHeld = (id: string, call: Call): Promise<boolean> => asking(connectTo, id, call);
  return createCompletion({ dataplane, clock, log, namespaces, isHeld });
}

interface ForwarderParts {
  readonly connections: Connections;
  readonly table: AgedTable;
  readonly wires: ForwarderWires;
  /** Once its connections are taken up. */
  readonly adopted: Promise<void>;
  readonly clients: RegistryClients;
  readonly decisions: Decisions;
  readonly release: () => void;
}

async function serveForwarder(
  platform: Platform,
  options: ForwarderOptions,
  { connections, table, wires, adopted, clients, decisions, release }: ForwarderParts,
): Promise<RunningRole> {
  const { name, node, dataplane, closesAtStop = false } = options;
  const { directory } = connections;
  const inspection = inspectionService({
    platform,
    role: 'forwarder',
    name,
    node,
    table,
    decisions,
    details: () => ({
      dataplane: dataplane.kind,
      quarantined: [...wires.quarantined()],
      ...repairsOf(wires.repairs(), platform.clock.nowMs()),
    }),
  });
  const services = [...servedAfter(adopted, connections.services), inspection];
  const listening = await listenOnAll(
    platform.listener,
    [options.listenOn],
    guarded(platform, name, services, { table }),
  );
  const urls = listening.map(({ url }) => url);
  const endpoint = registrationOf(options, urls);
  const registration = spawnEndpointRegistration(
    platform.system,
    { registry: clients, endpoint, services: [], wallClock: platform.wallClock },
    `${name} registration`,
  );
  await registeredSoon(registration, platform.log);
  return {
    urls,
    // As a rule stopping a forwarder leaves its wires: the next life adopts them, and traffic goes on meanwhile.
    async stop(timeoutMs) {
      const left = timeLeft(platform.clock, timeoutMs);
      wires.close();
      await adopted;
      await registration.stop(Math.min(timeoutMs, unregisterStopMs));
      if (closesAtStop) await directory.closeAll(left());
      await closeAll(listening, left());
      // What was under way while the others were closed.
      if (closesAtStop) await directory.closeAll(left());
      release();
      await dataplane.close();
      await options.journal?.close();
    },
  };
}

function repairsOf({ count, last }: RepairReport, nowMs: number) {
  if (last === undefined) return { repairs: count };
  const { connectionId, found, atMs } = last;
  const agoMs = BigInt(Math.round(nowMs - atMs));
  return { repairs: count, lastRepair: { connectionId, found: [...found], agoMs } };
}

function registrationOf(
  options: ForwarderOptions,
  urls: readonly string[],
): NetworkServiceEndpoint {
  const labels = withMechanisms(options.labels, options.capabilities.mechanisms);
  return create(NetworkServiceEndpointSchema, {
    name: options.name,
    networkServiceNames: [options.networkServiceName],
    networkServiceLabels: { [options.networkServiceName]: { labels } },
    url: publicUrlOf(urls),
  });
}
