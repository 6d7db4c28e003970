// Puts a forwarder together: it looks at what an earlier life left, listens, and registers at its manager as soon as
// that is there. Invariant: no Request reaches a wire before its adoption is over.

import { create } from '@bufbuild/protobuf';
import { type Connections, createConnections } from '../../actors/connection/connections.ts';
import {
  type ConnectionTable,
  createConnectionTable,
} from '../../actors/connection/connection-table.ts';
import { emptyTokens } from '../../actors/connection/tokens.ts';
import { createDiscovery } from '../../actors/discovery/discovery.ts';
import { spawnEndpointRegistration } from '../../actors/endpoint/endpoint-registration.ts';
import { type RegistryClients, registryClients } from '../../actors/registry/registry-clients.ts';
import { type Adoption, adoptWires } from '../../actors/forwarder/adoption.ts';
import { forwarderHop } from '../../actors/forwarder/forwarder-hop.ts';
import { createDecisions, type Decisions } from '../../actors/selection/decisions.ts';
import { createVniTable } from '../../actors/forwarder/vni-table.ts';
import { mechanismType } from '../../protocols/nsm/mechanism.ts';
import {
  type NetworkServiceEndpoint,
  NetworkServiceEndpointSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import type { Dataplane, DataplaneEvent } from '../../protocols/ports/dataplane.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { ConnectionDirectory } from '../../actors/connection/connection-directory.ts';
import { type AgedTable, withAges } from './connection-ages.ts';
import { withLoads } from './endpoint-loads.ts';
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
  readonly journal?: Journal;
  /** Takes its wires down when it stops, instead of leaving them to the next life. */
  readonly closesAtStop?: boolean;
}

/** Time for ending one connection, or undoing, on the forwarder's own account. */
const ownCallTimeoutMs = 15_000;
const wireTimeoutMs = 10_000;
const vxlanPortDefault = 4789;

export async function composeForwarder(
  platform: Platform,
  options: ForwarderOptions,
): Promise<RunningRole> {
  const { clock, wallClock, log, dialer, random } = platform;
  const { name, dataplane, maxTokenLifetimeMs } = options;
  const counted = withLoads(
    createConnectionTable({
      clock,
      log,
      bootId: platform.bootId,
      lifetimeMsMax: maxTokenLifetimeMs,
      ...(options.journal === undefined ? {} : { journal: options.journal }),
    }),
  );
  const table = withAges(counted, clock);
  const decisions = createDecisions({ wallClock, random });
  const vnis = createVniTable();
  const adoption = await adoptWires({
    name,
    table,
    dataplane,
    vnis,
    clock,
    log,
    wireTimeoutMs,
    quarantineMs: maxTokenLifetimeMs,
  });
  const clients = registryClients(dialer.dial(options.connectTo));
  const { nextHop, nextHopMonitors } = nextHopsOf(platform, name);
  const onNodeAway = (managerUrl: string): void => nextHopMonitors.lost(managerUrl);
  const discovery = createDiscovery({ clients, clock, wallClock, random, log, onNodeAway });
  const connections = createConnections({
    ...platform,
    name,
    hop: forwarderHop({
      ...options,
      clock,
      log,
      random,
      vnis,
      discovery,
      decisions,
      loadOf: (endpointName) => counted.loadOf(endpointName),
      nextHop,
      node: { domain: options.domain, node: options.node },
      vxlanPort: options.vxlanPort || vxlanPortDefault,
      undoTimeoutMs: ownCallTimeoutMs,
    }),
    table,
    tokens: platform.tokens ?? emptyTokens(wallClock, maxTokenLifetimeMs),
    nextHopMonitors,
    ownCallTimeoutMs,
  });
  const { adopted, unwatch } = takeUp(adoption, table, connections.directory, dataplane);
  return serveForwarder(platform, options, {
    connections,
    table,
    adoption,
    adopted,
    clients,
    decisions,
    release() {
      unwatch();
      nextHopMonitors.close();
      discovery.close();
    },
  });
}

/** Hands the adopted connections to their actors, and to each from then on what happens to its wire. */
function takeUp(
  adoption: Adoption,
  table: ConnectionTable,
  directory: ConnectionDirectory,
  dataplane: Dataplane,
): { readonly adopted: Promise<void>; readonly unwatch: () => void } {
  // What happens to a wire before its actor is there is told to it then.
  let early: DataplaneEvent[] | undefined = [];
  const unwatch = dataplane.watch((event) => {
    if (event.kind === 'objectGone') adoption.onObjectGone(event.wireId);
    if (early === undefined) onDataplaneEvent(table, directory, event);
    else early.push(event);
  });
  const adopted = adoption.finished.then((intents) => {
    directory.adopt(intents);
    const missed = early ?? [];
    early = undefined;
    for (const event of missed) onDataplaneEvent(table, directory, event);
  });
  return { adopted, unwatch };
}

interface ForwarderParts {
  readonly connections: Connections;
  readonly table: AgedTable;
  readonly adoption: Adoption;
  /** Once its connections are taken up. */
  readonly adopted: Promise<void>;
  readonly clients: RegistryClients;
  readonly decisions: Decisions;
  readonly release: () => void;
}

async function serveForwarder(
  platform: Platform,
  options: ForwarderOptions,
  { connections, table, adoption, adopted, clients, decisions, release }: ForwarderParts,
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
    details: () => ({ dataplane: dataplane.kind, quarantined: [...adoption.quarantined()] }),
  });
  const services = [...servedAfter(adopted, connections.services), inspection];
  const listening = await listenOnAll(platform.listener, [options.listenOn], services);
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
      adoption.close();
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

/** A client whose namespace is gone needs no wire; everything else that is gone the client may leave or repair. */
function onDataplaneEvent(
  table: ConnectionTable,
  directory: ConnectionDirectory,
  event: DataplaneEvent,
): void {
  if (event.kind !== 'objectGone') return;
  const clientType = table.get(event.wireId)?.connection.mechanism?.type;
  const clientIsGone = event.side === 'client' && clientType === mechanismType.kernel;
  directory.tell(
    event.wireId,
    clientIsGone
      ? { type: 'wireGone', reason: 'the interface of the client is gone' }
      : { type: 'nextHopLost' },
  );
}

function registrationOf(
  options: ForwarderOptions,
  urls: readonly string[],
): NetworkServiceEndpoint {
  return create(NetworkServiceEndpointSchema, {
    name: options.name,
    networkServiceNames: [options.networkServiceName],
    networkServiceLabels: { [options.networkServiceName]: { labels: { ...options.labels } } },
    url: publicUrlOf(urls),
  });
}
