// What a manager answers to `vwire drain`: it drains what is its own, and passes on what is another manager's, which it finds
// by the registry: an Endpoint's by its URL, a node's by its lease. Invariant: a question is passed on once at the most;
// asked again it says how things stand and does nothing a second time.

import { create } from '@bufbuild/protobuf';
import type { Drains } from '../../actors/manager/drains.ts';
import type { Moves } from '../../actors/manager/moves.ts';
import type { ManagerRegistry } from '../../actors/manager/registry/manager-registry.ts';
import type { Discovery } from '../../actors/discovery/discovery.ts';
import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import {
  type DrainingConnection,
  DrainingConnectionSchema,
  type DrainingEndpoint,
  DrainingEndpointSchema,
  Draining,
  DrainReplySchema,
  type DrainReply,
  type DrainRequest,
} from '../../protocols/nsm/gen/vwire_drain_pb.ts';
import { isDraining } from '../../protocols/nsm/draining.ts';
import {
  isNodeLease,
  leaseLabel,
  nodeLabel,
  nodeServiceName,
} from '../../protocols/nsm/node-lease.ts';
import { type CallContext, type ServedService, serve } from '../../protocols/ports/rpc.ts';
import type { Platform } from './platform.ts';

export interface DrainServiceSetup {
  readonly platform: Platform;
  readonly name: string;
  readonly node: string;
  readonly publicUrl: string;
  readonly discovery: Discovery;
  readonly registry: ManagerRegistry;
  readonly drains: Drains;
  readonly moves: Moves;
}

/** Connections that one answer names of each Endpoint. */
const namedMax = 100;

export function drainService(setup: DrainServiceSetup): ServedService {
  /** Why the registry does not know yet, by Endpoint. */
  const unregistered = new Map<string, string>();
  return serve(Draining, {
    async drain(request, call) {
      const { endpoint, node } = request;
      if ((endpoint === '') === (node === '')) throw nothingNamed(request);
      const isOwn =
        endpoint === ''
          ? node === setup.node
          : setup.registry.localNamed(endpoint) !== undefined || setup.drains.hasName(endpoint);
      if (!isOwn) return passOn(setup, request, call);
      return endpoint === ''
        ? drainNode(setup, unregistered, request.undo)
        : drainEndpoint(setup, unregistered, request);
    },
  });
}

async function drainEndpoint(
  setup: DrainServiceSetup,
  unregistered: Map<string, string>,
  { endpoint, undo }: DrainRequest,
): Promise<DrainReply> {
  const { drains } = setup;
  if (undo && drains.isWholeNode) throw nodeDrains(setup);
  if (drains.hasName(endpoint) === undo) await drains.setEndpoint(endpoint, !undo);
  await tellRegistry(setup, unregistered, [endpoint]);
  askClients(setup, undo);
  return answer(setup, unregistered, [endpoint]);
}

async function drainNode(
  setup: DrainServiceSetup,
  unregistered: Map<string, string>,
  undo: boolean,
): Promise<DrainReply> {
  const { drains, registry } = setup;
  if (undo || !drains.isWholeNode) await drains.setNode(!undo);
  const entries = [...registry.local()].filter((each) => !drains.isForwarder(each));
  const names = entries.map(({ name }) => name);
  await tellRegistry(setup, unregistered, names);
  askClients(setup, undo);
  const shown = entries.filter((each) => !isNodeLease(each)).map(({ name }) => name);
  return answer(setup, unregistered, shown);
}

/** Those alone whose label is not yet what it is to be. */
async function tellRegistry(
  { registry, drains }: DrainServiceSetup,
  unregistered: Map<string, string>,
  names: readonly string[],
): Promise<void> {
  await Promise.all(
    names.map(async (name) => {
      const entry = registry.localNamed(name);
      if (entry === undefined) return;
      if (isDraining(entry) === drains.drains(entry) && !unregistered.has(name)) return;
      try {
        await registry.drainingChanged(name);
        unregistered.delete(name);
      } catch (error) {
        unregistered.set(name, describeError(error));
      }
    }),
  );
}

function askClients({ drains, moves }: DrainServiceSetup, undo: boolean): void {
  if (undo) moves.lookAgain();
  else drains.askToMove();
}

function answer(
  { name: manager, node, drains, moves }: DrainServiceSetup,
  unregistered: ReadonlyMap<string, string>,
  names: readonly string[],
): DrainReply {
  const endpoints = names.toSorted().map((name): DrainingEndpoint => {
    const left = drains.connectionsOf(name);
    const connections = left.slice(0, namedMax).map(({ connection }): DrainingConnection => {
      const client = connection.path?.pathSegments[0];
      const move = moves.of(connection.id);
      return create(DrainingConnectionSchema, {
        id: client?.id ?? connection.id,
        client: client?.name ?? '',
        networkService: connection.networkService,
        phase: move?.phase ?? 'waiting',
        why: move?.why ?? '',
      });
    });
    return create(DrainingEndpointSchema, {
      name,
      connections,
      connectionsLeft: left.length,
      unregistered: unregistered.get(name) ?? '',
    });
  });
  return create(DrainReplySchema, { manager, node, endpoints });
}

async function passOn(
  setup: DrainServiceSetup,
  request: DrainRequest,
  call: CallContext,
): Promise<DrainReply> {
  const { discovery, platform, publicUrl } = setup;
  const what = request.endpoint === '' ? `node ${request.node}` : `Endpoint ${request.endpoint}`;
  const name = request.endpoint || `${nodeServiceName}-${request.node}`;
  const found = await discovery.findEndpointByName(name, call);
  const url = found && (request.endpoint === '' ? leaseLabel(found, nodeLabel.url) : found.url);
  if (url === undefined || url === publicUrl || request.passedOn) throw unknown(what, url);
  const timeoutMs = Math.max(1, call.deadlineMs - platform.clock.nowMs());
  try {
    const client = platform.dialer.dial(url).client(Draining);
    return await client.drain({ ...request, passedOn: true }, { timeoutMs, signal: call.signal });
  } catch (thrown) {
    const error = asNsmError(thrown);
    if (error.code !== 'UNIMPLEMENTED') throw error;
    throw new NsmError('FAILED_PRECONDITION', `the manager of ${what} knows no draining`, {
      rule: 'drain',
      expected: 'a manager of vwire',
      found: `one of the reference at ${url}`,
      remedy: 'stop the Endpoint; its clients heal to another one',
    });
  }
}

function nothingNamed({ endpoint, node }: DrainRequest): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'it is not clear what to drain', {
    rule: 'drain',
    expected: 'either an Endpoint or a node',
    found: endpoint === '' && node === '' ? 'neither' : 'both',
  });
}

function nodeDrains({ node }: DrainServiceSetup): NsmError {
  return new NsmError('FAILED_PRECONDITION', `the whole node ${node} drains`, {
    rule: 'drain',
    remedy: `take that back: vwire drain node ${node} --undo`,
  });
}

function unknown(what: string, url: string | undefined): NsmError {
  const found =
    url === undefined ? 'the registry has none' : 'it is registered no more at its manager';
  return new NsmError('NOT_FOUND', `there is no ${what}`, {
    rule: 'drain',
    found,
    remedy: 'see: vwire get endpoints, vwire get nodes',
  });
}
