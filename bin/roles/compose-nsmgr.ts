// Puts a manager together: the registry as its node sees it, and the connections of its node's workloads.

import { type Connections, createConnections } from '../../actors/connection/connections.ts';
import { createConnectionTable } from '../../actors/connection/connection-table.ts';
import { emptyTokens } from '../../actors/connection/tokens.ts';
import { createDiscovery, type Discovery } from '../../actors/discovery/discovery.ts';
import type { ForwarderPolicy } from '../../actors/manager/forwarder-order.ts';
import { managerHop } from '../../actors/manager/manager-hop.ts';
import {
  createManagerRegistry,
  type ManagerRegistry,
} from '../../actors/manager/registry/manager-registry.ts';
import { registryClients } from '../../actors/registry/registry-clients.ts';
import { createDecisions, type Decisions } from '../../actors/selection/decisions.ts';
import { nodeLeaseMsDefault, nodeServiceName } from '../../protocols/nsm/node-lease.ts';
import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import type { RegistryPolicies } from '../../protocols/authorization/registry-policies.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { ServedService } from '../../protocols/ports/rpc.ts';
import { guarded } from './authorization.ts';
import { type AgedTable, withAges } from './connection-ages.ts';
import { answersAt, askForwarders, inspectionService } from './inspection.ts';
import { type CountedTable, withLoads } from './next-hop-loads.ts';
import { registerNode } from './node-entry.ts';
import { composeMoving, type Moving, type MovingOptions } from './compose-moving.ts';
import { drainService } from './drain-service.ts';
import { nextHopsOf } from './next-hops.ts';
import { type Platform, publicUrlOf } from './platform.ts';
import { closeAll, listenOnAll, type RunningRole } from './running-role.ts';
import { timeLeft, unregisterStopMs } from './stop-times.ts';

export interface NsmgrOptions extends MovingOptions {
  readonly name: string;
  readonly listenOn: readonly string[];
  readonly registryUrl: string;
  readonly maxTokenLifetimeMs: number;
  /** Rules of the reference for registry calls; all by default. */
  readonly registryPolicies?: RegistryPolicies;
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
  /** Connections that nobody refreshes are kept as long as their forwarders hold them. */
  readonly keepsWhileAlive?: boolean;
  /** In which order forwarders that may carry a connection are asked. */
  readonly forwarderPolicy?: ForwarderPolicy;
  /** How long a forwarder may be away before another one takes its wires over. */
  readonly forwarderGraceMs?: number;
}

const ownCallTimeoutMs = 15_000;
const forwarderGraceMsDefault = 5_000;

interface ManagerParts {
  readonly discovery: Discovery;
  readonly registry: ManagerRegistry;
  readonly moving: Moving;
  readonly table: AgedTable;
  /** Connections through a forwarder. */
  readonly loadOf: (forwarder: string) => number;
  readonly decisions: Decisions;
  readonly forwarders: () => readonly NetworkServiceEndpoint[];
}

export async function composeNsmgr(
  platform: Platform,
  options: NsmgrOptions,
): Promise<RunningRole> {
  const { nextHop, nextHopMonitors, behind } = nextHopsOf(platform, options.name);
  const parts = await managerParts(platform, options, () => connections);
  const { discovery, registry, moving, table } = parts;
  const { serviceMonitor } = moving;
  const connections: Connections = createConnections({
    ...platform,
    name: options.name,
    hop: managerHop({
      ...options,
      ...parts,
      forwarderPolicy: options.forwarderPolicy ?? 'least-loaded',
      forwarderGraceMs: options.forwarderGraceMs ?? forwarderGraceMsDefault,
      clock: platform.clock,
      log: platform.log,
      nextHop,
      answers: answersAt(platform),
      onAnswered: (connection) => serviceMonitor.uses(connection),
    }),
    table,
    tokens: platform.tokens ?? emptyTokens(platform.wallClock, options.maxTokenLifetimeMs),
    nextHopMonitors,
    ownCallTimeoutMs,
    ...(options.keepsWhileAlive === true && { keeper: { behind } }),
  });
  const intents = await table.load();
  connections.directory.adopt(intents);
  for (const { connection } of intents) serviceMonitor.uses(connection);
  const services = [
    ...connections.services,
    ...registry.services,
    inspectionOf(platform, options, parts),
    drainServiceOf(platform, options, parts),
  ];
  const registered = {
    // Only the registry knows.
    service: () => Promise.resolve(undefined),
    endpoint: (name: string) => Promise.resolve(registry.localNamed(name)),
    ...(options.registryPolicies && { policies: options.registryPolicies }),
  };
  const listening = await serveManager(
    platform,
    options,
    guarded(platform, options.name, services, { table, registered }),
  );
  return {
    urls: listening.urls,
    // As a rule stopping a manager ends no connection: the next life takes them up from the journal.
    async stop(timeoutMs) {
      const left = timeLeft(platform.clock, timeoutMs);
      await listening.unregister(timeoutMs);
      if (options.closesAtStop === true) await connections.directory.closeAll(left());
      await listening.close(left());
      await moving.close();
      registry.close();
      nextHopMonitors.close();
      discovery.close();
      await options.journal?.close();
    },
  };
}

/** What knows of the domain and of this node, and what moves clients. */
async function managerParts(
  platform: Platform,
  options: NsmgrOptions,
  connections: () => Connections,
): Promise<ManagerParts> {
  const { clock, wallClock, log, dialer, random } = platform;
  const { endpointGraceMs } = options;
  const upstream = registryClients(dialer.dial(options.registryUrl));
  const shared = { clock, wallClock, random, log };
  // Its next hops are forwarders of its own node; who of the others is away matters for where clients may move to.
  const discovery = createDiscovery({ ...shared, clients: upstream, onNodeAway: () => {} });
  const counted = tableOf(platform, options);
  const table = withAges(counted, clock);
  const moving = await composeMoving(platform, options, {
    table,
    discovery,
    directory: () => connections().directory,
    registry: () => registry,
  });
  const registry: ManagerRegistry = createManagerRegistry({
    ...shared,
    upstream,
    discovery,
    publicUrl: publicUrlOf(options.listenOn),
    nodeLabels: options.nodeLabels,
    drains: (endpoint) => moving.drains.drains(endpoint),
    ...(endpointGraceMs === undefined ? {} : { endpointGraceMs }),
  });
  const forwarders = () => registry.localEndpoints(options.forwarderServiceName);
  const decisions = createDecisions({ wallClock, random });
  const loadOf = (forwarder: string): number => counted.loadOf(forwarder);
  return { discovery, registry, moving, table, loadOf, decisions, forwarders };
}

function tableOf({ clock, log, bootId }: Platform, options: NsmgrOptions): CountedTable {
  const { journal, maxTokenLifetimeMs: lifetimeMsMax } = options;
  const kept = journal === undefined ? {} : { journal };
  return withLoads(createConnectionTable({ clock, log, bootId, lifetimeMsMax, ...kept }));
}

function drainServiceOf(
  platform: Platform,
  { name, node = '', listenOn }: NsmgrOptions,
  { discovery, registry, moving }: ManagerParts,
): ServedService {
  const publicUrl = publicUrlOf(listenOn);
  return drainService({ ...moving, platform, name, node, publicUrl, discovery, registry });
}

function inspectionOf(
  platform: Platform,
  options: NsmgrOptions,
  parts: ManagerParts,
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
        .filter((each) => each.isStale && each.name !== nodeServiceName)
        .map((each) => each.name),
      forwarders: [...(await askForwarders(platform, parts.forwarders(), call))],
      stuck: someOf(parts.moving.moves.stuck()).map(([id, why]) => ({ id, why })),
    }),
  });
}

/** That one answer names. */
const stuckMax = 20;

function someOf<Value>(all: Iterable<Value>): readonly Value[] {
  const some: Value[] = [];
  for (const each of all) {
    if (some.length === stuckMax) break;
    some.push(each);
  }
  return some;
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
