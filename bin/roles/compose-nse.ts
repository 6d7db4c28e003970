// Puts an Endpoint together: its hop, its connections, its registration. Used by `vwire nse` and by the library.

import { createConnections } from '../../actors/connection/connections.ts';
import type { Hop } from '../../actors/connection/hop.ts';
import { createConnectionTable } from '../../actors/connection/connection-table.ts';
import { emptyTokens } from '../../actors/connection/tokens.ts';
import { attendedHop, type AttendedSetup } from '../../actors/nse/attended-hop.ts';
import { endpointHop, type EndpointHooks } from '../../actors/nse/endpoint-hop.ts';
import { Leases } from '../../actors/nse/leases.ts';
import { packetsReceived } from '../../actors/nse/packets-received.ts';
import { takeUp } from '../../actors/nse/take-up.ts';
import type { Prefix } from '../../protocols/ipam/address.ts';
import type { DNSConfig, PolicyRoute } from '../../protocols/nsm/gen/connectioncontext_pb.ts';
import { PointToPointPools } from '../../protocols/ipam/point-to-point.ts';
import { defaultInterfaceName } from '../../protocols/nsm/interface-name.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { ReceivedPackets } from '../../protocols/ports/received-packets.ts';
import type { RegistryStore } from '../../protocols/ports/registry-store.ts';
import { type Connection, type Mechanism, State } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  mechanismType,
  parameter,
  parameterKey,
  withParameters,
} from '../../protocols/nsm/mechanism.ts';
import { memifSocketFile } from '../../protocols/nsm/memif-mechanism.ts';
import { guarded } from './authorization.ts';
import { type EndpointRegistering, registerEndpoint } from './nse-parts.ts';
import type { Platform } from './platform.ts';
import { registeredSoon } from './registered-soon.ts';
import { closeAll, listenOnAll, type RunningRole } from './running-role.ts';
import { leaseTimes, sharedPoolsOf } from './shared-pools.ts';

/** Policy routes that may change while the Endpoint runs. */
export interface PolicyRoutes {
  readonly current: () => readonly PolicyRoute[];
  /** Calls back with every change, until it is stopped. */
  readonly follow: (onChange: () => void) => () => void;
}

export interface NseOptions extends EndpointHooks, EndpointRegistering {
  /** Where the Endpoint serves. */
  readonly listenOn: string;
  /** An address pair from each group. */
  readonly cidrPrefixes: readonly (readonly Prefix[])[];
  /** Told to every client. */
  readonly dnsConfigs?: readonly DNSConfig[];
  /** Told to every client, and anew with every change. */
  readonly policyRoutes?: PolicyRoutes;
  /** Time until the registry must have it. Absent: it serves meanwhile, and registers as soon as it can. */
  readonly registerTimeoutMs?: number;
  readonly maxTokenLifetimeMs: number;
  /** `inode://` or `file://` URL of the namespace that the wires end in. */
  readonly netns: string;
  /**
   * What its wires may end in; default KERNEL. With MEMIF the answer names an abstract socket, which a memif master of the
   * Endpoint's own has to make.
   */
  readonly mechanisms?: readonly (typeof mechanismType.kernel | typeof mechanismType.memif)[];
  /** What its connections hold, kept over a restart; closed with the role. Without, a next life begins with free pools. */
  readonly journal?: Journal;
  /** Addresses of clients that are away, kept over a restart; closed with the role. */
  readonly leaseJournal?: Journal;
  /** How long an address is kept for a client after its connection has ended. Default: the max token lifetime. */
  readonly leaseKeepMs?: number;
  /** What becomes of addresses of others that a client brings along; default `strict`: it carries those of this one alone. */
  readonly ipamPolicy?: 'polite' | 'strict';
  /**
   * The store in which replicas, Endpoints of the same services and prefixes, share out their addresses. Without, all
   * addresses are taken for its own.
   */
  readonly openAddressStore?: () => Promise<RegistryStore>;
  /** Told when nobody has been connected for that time; from then on nobody new is let in. Default: never. */
  readonly idle?: NonNullable<AttendedSetup['idle']>;
  /** Given: connections that nobody refreshes are kept as long as packets come in on their interfaces. */
  readonly receivedPackets?: ReceivedPackets;
}

/** Time for ending one connection on the Endpoint's own account. */
const ownCallTimeoutMs = 15_000;

export async function composeNse(platform: Platform, options: NseOptions): Promise<RunningRole> {
  const { log, clock, wallClock, listener } = platform;
  const { journal, leaseJournal, netns, receivedPackets } = options;
  const pools = new PointToPointPools(options.cidrPrefixes);
  const leases = leasesOf(platform, options, pools);
  const records = (await leaseJournal?.load()) ?? new Map<string, Uint8Array>();
  const table = createConnectionTable({
    clock,
    bootId: platform.bootId,
    lifetimeMsMax: options.maxTokenLifetimeMs,
    log,
    ...(journal === undefined ? {} : { journal }),
  });
  const intents = await takeUp({
    table,
    leases,
    records,
    netns,
    clock,
    log,
    keepsExpired: receivedPackets !== undefined,
  });
  const shared = await sharedPoolsOf(platform, options, { leases, pools, records });
  const hop = attendedHop(hopOf(platform, options, leases), {
    name: options.name,
    clock,
    connected: intents.map(({ connection }) => connection.id),
    ...(options.idle === undefined ? {} : { idle: options.idle }),
  });
  const tokens = platform.tokens ?? emptyTokens(wallClock, options.maxTokenLifetimeMs);
  const connections = createConnections({
    ...platform,
    name: options.name,
    hop,
    table,
    tokens,
    ownCallTimeoutMs,
    ...(receivedPackets && { keeper: { dataplane: packetsReceived(receivedPackets, netns) } }),
  });
  connections.directory.adopt(intents);
  const askToRefresh = (id: string): void => {
    connections.directory.tell(id, { type: 'wish', wished: State.REFRESH_REQUESTED });
  };
  shared?.whenLost(askToRefresh);
  const unfollow = options.policyRoutes?.follow(() => {
    for (const { connection } of table.all()) askToRefresh(connection.id);
  });
  const services = guarded(platform, options.name, connections.services, { table });
  const listening = await listenOnAll(listener, [options.listenOn], services);
  const urls = listening.map(({ url }) => url);
  const registration = registerEndpoint(platform, options, urls);
  const stop = async (timeoutMs: number): Promise<void> => {
    hop.end('its process was told to stop');
    unfollow?.();
    await registration.stop(timeoutMs);
    await closeAll(listening, timeoutMs);
    await shared?.stop();
    await journal?.close();
    await leaseJournal?.close();
  };
  const { registerTimeoutMs } = options;
  try {
    if (registerTimeoutMs === undefined) await registeredSoon(registration, log);
    else await registration.registered({ timeoutMs: registerTimeoutMs });
  } catch (error) {
    await stop(0);
    // Why no try succeeded says more than that the time was over.
    throw registration.status.lastError ?? error;
  }
  return { urls, stop };
}

function leasesOf(
  { clock, log, bootId }: Platform,
  options: NseOptions,
  pools: PointToPointPools,
): Leases {
  const { leaseJournal } = options;
  return new Leases({
    clock,
    log,
    bootId,
    pools,
    policy: options.ipamPolicy ?? 'strict',
    ...leaseTimes(options),
    ...(leaseJournal === undefined ? {} : { journal: leaseJournal }),
  });
}

function hopOf(platform: Platform, options: NseOptions, leases: Leases): Hop {
  return endpointHop({
    name: options.name,
    log: platform.log,
    clock: platform.clock,
    leases,
    ...(options.dnsConfigs === undefined ? {} : { dnsConfigs: options.dnsConfigs }),
    ...(options.policyRoutes === undefined ? {} : { policyRoutes: options.policyRoutes.current }),
    completeMechanism: (asked, connection) =>
      asked.type === mechanismType.memif
        ? completeMemif(options, asked, connection)
        : completeKernel(platform, options, asked, connection),
    mechanismTypes: options.mechanisms ?? [mechanismType.kernel],
    ...(options.onRequest === undefined ? {} : { onRequest: options.onRequest }),
    ...(options.onClose === undefined ? {} : { onClose: options.onClose }),
  });
}

/** This end of a MEMIF mechanism: a socket in the Endpoint's namespace, which whoever drives it makes. */
function completeMemif({ netns }: NseOptions, asked: Mechanism, { id }: Connection): Mechanism {
  return withParameters(asked, {
    [parameterKey.inodeUrl]: netns,
    [parameterKey.socketFile]: memifSocketFile(id),
  });
}

/** This end of a KERNEL mechanism: the Endpoint's namespace, and a name of its own unless one was agreed on. */
function completeKernel(
  platform: Platform,
  options: NseOptions,
  asked: Mechanism,
  connection: Connection,
): Mechanism {
  const name =
    parameter(asked, parameterKey.name) ??
    defaultInterfaceName(connection.networkService, platform.random);
  return withParameters(asked, {
    [parameterKey.inodeUrl]: options.netns,
    [parameterKey.name]: name,
  });
}
