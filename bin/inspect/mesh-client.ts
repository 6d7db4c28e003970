// Asking a manager what a person wants to know, with NSM's own gRPC API as far as it goes and vwire's inspection for
// the rest. Invariant: every question has a deadline, and a manager of the reference can be asked as well.

import { create } from '@bufbuild/protobuf';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import {
  type Connection,
  type ConnectionEvent,
  ConnectionEventType,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import {
  type NetworkService,
  type NetworkServiceEndpoint,
  NetworkServiceEndpointQuerySchema,
  NetworkServiceEndpointRegistry,
  NetworkServiceQuerySchema,
  NetworkServiceRegistry,
} from '../../protocols/nsm/gen/registry_pb.ts';
import {
  Draining,
  type DrainReply,
  DrainRequestSchema,
} from '../../protocols/nsm/gen/vwire_drain_pb.ts';
import {
  type ConnectionDetail,
  ConnectionsRequestSchema,
  type DecisionsReply,
  DecisionsRequestSchema,
  Inspection,
  type StatusReply,
  StatusRequestSchema,
} from '../../protocols/nsm/gen/vwire_inspect_pb.ts';
import type { Channel } from '../../protocols/ports/rpc.ts';
import { createGrpc } from '../../transports/grpc/grpc.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import { obtainIdentity, type OwnIdentity } from '../roles/own-identity.ts';
import { checkSocket, noManager, operatorWorkloadApi } from './where.ts';

export interface MeshClient {
  readonly url: string;
  services(): Promise<readonly NetworkService[]>;
  registerService(service: NetworkService): Promise<NetworkService>;
  unregisterService(service: NetworkService): Promise<void>;
  endpoints(): Promise<readonly NetworkServiceEndpoint[]>;
  /** What the manager holds, in its own view of each path. */
  connections(): Promise<readonly Connection[]>;
  /** By the id of the manager's own segment; empty where the manager speaks no inspection. */
  connectionDetails(): Promise<ReadonlyMap<string, ConnectionDetail>>;
  /** Of that id, or for the connection with that id at any hop; undefined where the manager records none. */
  decisions(key: string): Promise<DecisionsReply | undefined>;
  /** Begins or takes back draining, and says how it stands. Errors: NOT_FOUND, FAILED_PRECONDITION. */
  drain(asked: DrainAsked): Promise<DrainReply>;
  /** Everything that happens to the manager's connections, what there is first, until `signal` is aborted. */
  watchConnections(signal: AbortSignal): AsyncIterable<ConnectionEvent>;
  /** Undefined where the manager speaks no inspection: one of the reference. */
  status(): Promise<StatusReply | undefined>;
  close(): Promise<void>;
}

export interface DrainAsked {
  readonly endpoint: string;
  readonly node: string;
  readonly undo: boolean;
}

const timeoutMs = 5_000;
const tokenLifetimeMs = 60_000;
/** The manager may have to ask another one, and the registry. */
const drainTimeoutMs = 15_000;

/** Connects with the first question. Errors: UNAVAILABLE naming the URL and what to do, INVALID_ARGUMENT (the URL). */
export async function withMesh<T>(url: string, use: (mesh: MeshClient) => Promise<T>): Promise<T> {
  checkSocket(url);
  const identity = await operatorIdentity(url);
  const mesh = openMesh(url, identity);
  try {
    return await use(mesh);
  } catch (thrown) {
    throw explained(url, asNsmError(thrown));
  } finally {
    await mesh.close();
    await identity?.identity.close();
  }
}

/** Who asks, where there is an identity to be had: mTLS then, else plaintext. */
async function operatorIdentity(url: string): Promise<OwnIdentity | undefined> {
  const endpoint = operatorWorkloadApi(url);
  if (endpoint === undefined) return undefined;
  return obtainIdentity({ endpoint, maxTokenLifetimeMs: tokenLifetimeMs, log: silentLog });
}

function openMesh(url: string, own: OwnIdentity | undefined): MeshClient {
  const security =
    own === undefined
      ? // On unix sockets and loopback alone; the binding refuses plaintext everywhere else.
        { insecure: true }
      : { tls: { ...own, wallClock: systemWallClock }, callHeaders: own.callHeaders };
  const { dialer } = createGrpc({ clock: systemClock, log: silentLog, ...security });
  const channel = dialer.dial(url);
  const inspection = channel.client(Inspection);
  return {
    url,
    async services() {
      const found: NetworkService[] = [];
      const query = create(NetworkServiceQuerySchema, { networkService: {} });
      const stream = channel.client(NetworkServiceRegistry).find(query, { timeoutMs });
      for await (const { networkService } of stream) {
        if (networkService !== undefined) found.push(networkService);
      }
      return found.toSorted(byName);
    },
    registerService: (service) =>
      channel.client(NetworkServiceRegistry).register(service, { timeoutMs }),
    async unregisterService(service) {
      await channel.client(NetworkServiceRegistry).unregister(service, { timeoutMs });
    },
    async endpoints() {
      const found: NetworkServiceEndpoint[] = [];
      const query = create(NetworkServiceEndpointQuerySchema, { networkServiceEndpoint: {} });
      const stream = channel.client(NetworkServiceEndpointRegistry).find(query, { timeoutMs });
      for await (const { networkServiceEndpoint } of stream) {
        if (networkServiceEndpoint !== undefined) found.push(networkServiceEndpoint);
      }
      return found.toSorted(byName);
    },
    async connections() {
      const status = await orUndefined(
        inspection.status(create(StatusRequestSchema), { timeoutMs }),
      );
      return initialTransfer(channel, status?.connections ?? 0);
    },
    async connectionDetails() {
      const reply = await orUndefined(
        inspection.connections(create(ConnectionsRequestSchema), { timeoutMs }),
      );
      return new Map((reply?.connections ?? []).map((detail) => [detail.id, detail]));
    },
    decisions: (key) =>
      orUndefined(inspection.decisions(create(DecisionsRequestSchema, { key }), { timeoutMs })),
    async drain(asked) {
      const client = channel.client(Draining);
      const request = create(DrainRequestSchema, { ...asked });
      const reply = await orUndefined(client.drain(request, { timeoutMs: drainTimeoutMs }));
      if (reply !== undefined) return reply;
      throw new NsmError('FAILED_PRECONDITION', `the manager at ${url} knows no draining`, {
        expected: 'a manager of vwire',
        found: 'one of the reference',
      });
    },
    watchConnections: (signal) =>
      channel
        .client(MonitorConnection)
        .monitorConnections(create(MonitorScopeSelectorSchema), { signal }),
    status: () => orUndefined(inspection.status(create(StatusRequestSchema), { timeoutMs })),
    close: () => dialer.close(),
  };
}

/** How long the next part of a large state may take; the parts follow each other at once. */
const nextPartMs = 500;

/** The state that a monitor begins with: one event, or as many as hold `expected` connections. */
async function initialTransfer(channel: Channel, expected: number): Promise<Connection[]> {
  const found = new Map<string, Connection>();
  const stop = new AbortController();
  let patience: NodeJS.Timeout | undefined;
  let hasBegun = false;
  const selector = create(MonitorScopeSelectorSchema);
  const options = { timeoutMs, signal: stop.signal };
  try {
    const events = channel.client(MonitorConnection).monitorConnections(selector, options);
    for await (const { type, connections } of events) {
      if (type !== ConnectionEventType.INITIAL_STATE_TRANSFER) break;
      hasBegun = true;
      for (const each of Object.values(connections)) found.set(each.id, each);
      if (found.size >= expected) break;
      // What has been closed since it was counted never comes.
      clearTimeout(patience);
      patience = setTimeout(() => stop.abort(), nextPartMs);
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    clearTimeout(patience);
  }
  if (hasBegun) return [...found.values()];
  throw new NsmError('UNAVAILABLE', 'the manager ended the monitor without its connections');
}

async function orUndefined<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (asNsmError(error).code === 'UNIMPLEMENTED') return undefined;
    throw error;
  }
}

function byName(left: { readonly name: string }, right: { readonly name: string }): number {
  return left.name < right.name ? -1 : Number(left.name > right.name);
}

/** A socket that nobody serves any more is not told from a manager that lacks its registry by the code alone. */
function explained(url: string, error: NsmError): NsmError {
  const isSilent = /ECONNREFUSED|ENOENT|No connection established/.test(error.message);
  const found = error.details.found ?? '';
  const isGone = error.code === 'UNAVAILABLE' && (isSilent || /ECONNREFUSED|ENOENT/.test(found));
  return isGone ? noManager(url, 'nobody serves that socket any more') : error;
}
