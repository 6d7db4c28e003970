// The package's public API: write an Endpoint or a client in a few lines (docs/library.md). Each stands on a platform
// of its own; nothing here reads the environment, writes to the console, or touches what else the process does.
// Invariant: after `close` no socket, timer, file or registration of it is left.

import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClientStatus } from '../actors/client/client-setup.ts';
import { NsmError } from '../protocols/errors.ts';
import { requirePrefix } from '../protocols/ipam/address.ts';
import type { Connection } from '../protocols/nsm/gen/connection_pb.ts';
import { checkInterfaceName } from '../protocols/nsm/interface-name.ts';
import { type Log, silentLog } from '../protocols/ports/log.ts';
import { namespaceInodeUrl } from '../transports/netlink/namespace-url.ts';
import { loadNscConfig } from './config/load.ts';
import { livenessOf } from './roles/client-liveness.ts';
import { composeNsc } from './roles/compose-nsc.ts';
import { composeNse } from './roles/compose-nse.ts';
import { createPlatform } from './roles/platform.ts';

export { describeError, NsmError } from '../protocols/errors.ts';
export type { ErrorCode, ErrorDetails } from '../protocols/errors.ts';
export type { Connection } from '../protocols/nsm/gen/connection_pb.ts';
export type { Log } from '../protocols/ports/log.ts';
export type { ClientStatus } from '../actors/client/client-setup.ts';

/** What an Endpoint and a client have in common. */
export interface WorkloadOptions {
  /** Its name in paths and, for an Endpoint, in the registry: unique in the domain. */
  readonly name: string;
  /** URL of the node's manager: `unix:///path` or `tcp://host:port`. Default: the one of `vwire up` run by root. */
  readonly connectTo?: string;
  /** gRPC without TLS, on unix sockets and loopback only. By default SPIFFE_ENDPOINT_SOCKET must name a Workload API. */
  readonly insecure?: boolean;
  /** Of its registration, or of its requests. */
  readonly labels?: Readonly<Record<string, string>>;
  /** `file://` or `inode://` URL of the network namespace that its wires end in. Default: the process's own. */
  readonly namespace?: string;
  /** Life of a connection or registration that nobody refreshes, in ms. Default: 10 minutes. */
  readonly maxTokenLifetimeMs?: number;
  /** Time until it must be registered or connected; default 30,000. Later losses are healed without an end. */
  readonly connectTimeoutMs?: number;
  /** Silent by default. */
  readonly log?: Log;
}

export interface EndpointOptions extends WorkloadOptions {
  /** Names of the Network Services that it offers; registered with it. */
  readonly services: readonly string[];
  /** What the wires carry; default `IP`. */
  readonly payload?: 'IP' | 'ETHERNET';
  /**
   * Prefixes in CIDR form. Each client gets an address pair from every entry; an entry that is a list is a pool of
   * several prefixes. Default: `['169.254.0.0/16']`; an empty list gives no addresses.
   */
  readonly addresses?: readonly (string | readonly string[])[];
  /**
   * What its wires may end in; default `['KERNEL']`, an interface. With `MEMIF` the mechanism of a connection may name an
   * abstract socket instead, on which the Endpoint has to be the memif master.
   */
  readonly mechanisms?: readonly ('KERNEL' | 'MEMIF')[];
  /** Where it serves; default: a unix socket in a temporary directory of its own. */
  readonly listenOn?: string;
  /**
   * Runs in each Request and each refresh, once addresses are settled. What it returns is the answer, nothing leaves
   * it as it is. A throw refuses: an NsmError as it is, anything else as FAILED_PRECONDITION with its message.
   */
  readonly onRequest?: (
    connection: Connection,
  ) => Connection | undefined | void | Promise<Connection | undefined | void>;
  /** Runs when a client has left, or its time is over. */
  readonly onClose?: (connection: Connection) => void | Promise<void>;
}

export interface Endpoint extends AsyncDisposable {
  readonly name: string;
  /** Where it serves. */
  readonly urls: readonly string[];
  /** Unregisters and stops. Wires that it has go on until their clients are told, or their expiry. */
  close(): Promise<void>;
}

export interface ClientOptions extends WorkloadOptions {
  /** `service` or `service@domain`. */
  readonly service: string;
  /** Name of the interface, at most 15 bytes. Default: made of the service's name. */
  readonly interfaceName?: string;
  /** `MEMIF`: its connection names an abstract socket, to connect to as a memif slave. Default `KERNEL`, an interface. */
  readonly mechanism?: 'KERNEL' | 'MEMIF';
  /** Time of one Request; default 15,000. */
  readonly requestTimeoutMs?: number;
  /**
   * Whether the wire is pinged, so that a dead Endpoint is left at once and a live one never; default true in the own
   * namespace. Needs CAP_NET_RAW or a wide `net.ipv4.ping_group_range`; without, healing goes by the control plane.
   */
  readonly liveness?: boolean;
  /** Every change: established, healing, closed. */
  readonly onStatus?: (status: ClientStatus) => void;
}

export interface Client extends AsyncDisposable {
  readonly name: string;
  /** As it is now; changes with healing. */
  readonly status: ClientStatus;
  /** The connection as it was established last. */
  readonly connection: Connection;
  /** Takes the wire down. */
  close(): Promise<void>;
}

/** Where `vwire up` lets workloads in when root runs it. */
export const defaultConnectTo = 'unix:///var/lib/vwire/nsm.io.sock';

const maxTokenLifetimeMsDefault = 600_000;
const requestTimeoutMsDefault = 15_000;
const connectTimeoutMsDefault = 30_000;
const addressesDefault = ['169.254.0.0/16'];
const ownNamespace = '/proc/self/ns/net';
const closeTimeoutMs = 10_000;

/**
 * An Endpoint that is registered and serves. Errors: INVALID_ARGUMENT (an option), FAILED_PRECONDITION (`insecure` is
 * missing), UNAVAILABLE and DEADLINE_EXCEEDED (no manager, no registry).
 */
export async function createEndpoint(options: EndpointOptions): Promise<Endpoint> {
  const { name, services, onRequest, onClose } = options;
  checkName(name);
  if (services.length === 0) throw badOption('services', 'at least one name', 'none');
  const cidrPrefixes = (options.addresses ?? addressesDefault).map((group) =>
    [group].flat().map((prefix) => requirePrefix(prefix, 'addresses')),
  );
  const platform = await platformOf(options);
  const place = options.listenOn === undefined ? ownSocket() : { url: options.listenOn };
  const release = async (): Promise<void> => {
    await platform.stop(closeTimeoutMs);
    if ('directory' in place) rmSync(place.directory, { recursive: true, force: true });
  };
  try {
    const role = await composeNse(platform, {
      name,
      connectTo: options.connectTo ?? defaultConnectTo,
      listenOn: place.url,
      serviceNames: services,
      payload: options.payload ?? 'IP',
      labels: options.labels ?? {},
      cidrPrefixes,
      registerService: true,
      registerTimeoutMs: options.connectTimeoutMs ?? connectTimeoutMsDefault,
      maxTokenLifetimeMs: options.maxTokenLifetimeMs ?? maxTokenLifetimeMsDefault,
      netns: options.namespace ?? namespaceInodeUrl(ownNamespace),
      ...(options.mechanisms === undefined ? {} : { mechanisms: options.mechanisms }),
      ...(onRequest === undefined
        ? {}
        : { onRequest: async (connection) => (await onRequest(connection)) ?? connection }),
      ...(onClose === undefined ? {} : { onClose }),
    });
    const close = once(async () => {
      await role.stop(closeTimeoutMs);
      await release();
    });
    return { name, urls: role.urls, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await release();
    throw error;
  }
}

/**
 * A client that is connected, and is kept so until it is closed. Errors: as `createEndpoint`; where no connection
 * comes about in time, what the last Request was refused with.
 */
export async function createClient(options: ClientOptions): Promise<Client> {
  const { name, service, interfaceName, mechanism: mechanismType = 'KERNEL', onStatus } = options;
  checkName(name);
  if (service === '') throw badOption('service', 'a name', 'an empty text');
  if (interfaceName !== undefined) checkInterfaceName(interfaceName, 'interfaceName');
  const platform = await platformOf(options);
  // A socket that is kept in another namespace would keep that alive.
  const probes = options.namespace === undefined && (options.liveness ?? true);
  let status: ClientStatus = { phase: 'requesting', attempts: 0 };
  let connection: Connection | undefined;
  let onChanged: () => void = () => {};
  const role = composeNsc(platform, {
    name,
    connectTo: options.connectTo ?? defaultConnectTo,
    services: [{ mechanismType, networkService: service, interfaceName, labels: {} }],
    labels: options.labels ?? {},
    requestTimeoutMs: options.requestTimeoutMs ?? requestTimeoutMsDefault,
    maxTokenLifetimeMs: options.maxTokenLifetimeMs ?? maxTokenLifetimeMsDefault,
    netns: options.namespace ?? namespaceInodeUrl(ownNamespace),
    ...(probes ? livenessOf(loadNscConfig({}), platform) : {}),
    onStatus(_, __, changed) {
      status = changed;
      if (changed.phase === 'established') connection = changed.connection;
      onChanged();
      onStatus?.(changed);
    },
  });
  const close = once(async () => {
    await role.stop(closeTimeoutMs);
    await platform.stop(closeTimeoutMs);
  });
  const timeoutMs = options.connectTimeoutMs ?? connectTimeoutMsDefault;
  try {
    const first = await new Promise<Connection>((resolve, reject) => {
      const timer = setTimeout(() => reject(notConnected(service, status, timeoutMs)), timeoutMs);
      onChanged = () => {
        if (connection === undefined) return;
        clearTimeout(timer);
        resolve(connection);
      };
    });
    return {
      name,
      get status() {
        return status;
      },
      get connection() {
        return connection ?? first;
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function platformOf({
  name,
  log = silentLog,
  insecure = false,
  maxTokenLifetimeMs = maxTokenLifetimeMsDefault,
}: WorkloadOptions) {
  return createPlatform({ name, log, insecure, maxTokenLifetimeMs, natsUrl: undefined });
}

/** Its forwarder must get there, under whichever user that runs. */
function ownSocket(): { readonly url: string; readonly directory: string } {
  const directory = mkdtempSync(join(tmpdir(), 'vwire-endpoint-'));
  chmodSync(directory, 0o755);
  return { directory, url: `unix://${join(directory, 'endpoint.sock')}` };
}

function once(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => (done ??= work());
}

function checkName(name: string): void {
  if (name === '') throw badOption('name', 'a name that is unique in the domain', 'an empty text');
}

function badOption(rule: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', `the option ${rule} cannot be used`, {
    rule,
    expected,
    found,
  });
}

function notConnected(service: string, status: ClientStatus, timeoutMs: number): NsmError {
  if ('lastError' in status && status.lastError !== undefined) return status.lastError;
  return new NsmError('DEADLINE_EXCEEDED', `no connection to ${service} within ${timeoutMs} ms`, {
    rule: 'connectTimeoutMs',
  });
}
