// The forwarder's part of a connection: it selects the Endpoint, agrees on a mechanism with each side, and makes
// the data plane equal to what was agreed. Order of a Request: mechanism towards the client, Endpoint and the
// next hop's answer, then the wire; a failure undoes what this Request made, and no more.

import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import { create } from '@bufbuild/protobuf';
import { ConnectionContextSchema } from '../../protocols/nsm/gen/connectioncontext_pb.ts';
import { withNoMark } from '../../protocols/nsm/far-end.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { mechanismType } from '../../protocols/nsm/mechanism.ts';
import { leadsToSame } from '../../protocols/nsm/same-hop.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Dataplane, Wire } from '../../protocols/ports/dataplane.ts';
import type {
  Call,
  Candidate,
  Hop,
  HopMemory,
  HopRequest,
  HopResult,
  LeftHop,
  LocalPartRule,
  NextHop,
} from '../connection/hop.ts';
import type { Discovery } from '../discovery/discovery.ts';
import type { Completion } from './completion.ts';
import { agreeWithClient, type MechanismSetup, onwardOffer } from './mechanisms.ts';
import {
  endpointCandidates,
  type SelectedEndpoints,
  type SelectionSetup,
} from './select-endpoint.ts';
import { ownKeyName } from './tunnel-ends.ts';
import { wireOf } from './wire-of.ts';

export interface ForwarderHopSetup extends MechanismSetup, SelectionSetup {
  readonly clock: Clock;
  readonly nextHop: NextHop;
  readonly dataplane: Dataplane;
  readonly completion: Completion;
  readonly discovery: Discovery;
  readonly log: Log;
  /** Time for undoing on this hop's own account. */
  readonly undoTimeoutMs: number;
}

const localPartRule: LocalPartRule = 'local-part';

/** UDP ports that a tunnel may move to when the agreed VNI is taken on this node. */
const portMovesMax = 4;

export function forwarderHop(known: ForwarderHopSetup): Hop {
  let setup = known;
  return {
    async request(request) {
      setup = await withAnyReach(setup, request.call);
      const client = agreeWithClient(setup, request);
      try {
        const selected = await endpointCandidates(setup, request);
        const { payload } = selected;
        const connection = { ...withNoMark(request.connection), mechanism: client, payload };
        const result = await tryEndpoints(setup, { ...request, connection }, selected);
        setup.nextHop.leaveReplaced(request.previous, result.memory);
        return result;
      } catch (error) {
        if (request.previous === undefined) releaseNumbers(setup, request.connection.id);
        throw error;
      }
    },
    close: (connection, memory, call) => close(setup, connection, memory, call),
    resume: ({ url, connection }) => void setup.nextHop.leave(url, connection, 0),
    repair: (connection, memory, call) => repair(setup, connection, memory, call),
  };
}

function releaseNumbers(
  { vnis, tunnelPorts }: Pick<ForwarderHopSetup, 'vnis' | 'tunnelPorts'>,
  connectionId: string,
): void {
  vnis.release(connectionId);
  tunnelPorts.release(connectionId);
}

/** A data plane that could make nothing may have been mended since. */
async function withAnyReach(setup: ForwarderHopSetup, call: Call): Promise<ForwarderHopSetup> {
  if (setup.capabilities.mechanisms.length > 0) return setup;
  const budget = { timeoutMs: timeLeft(setup, call), signal: call.signal };
  return { ...setup, capabilities: await setup.dataplane.probe(budget) };
}

async function tryEndpoints(
  setup: ForwarderHopSetup,
  request: HopRequest,
  { candidates, decision }: SelectedEndpoints,
): Promise<HopResult> {
  try {
    return await setup.nextHop.tryInOrder(candidates, request.call, (endpoint, call) => {
      const attempt = () => connect(setup, { ...request, call }, endpoint);
      return decision === undefined ? attempt() : decision.trying(endpoint.name, attempt);
    });
  } catch (thrown) {
    throw decision === undefined ? thrown : decision.refused(thrown);
  }
}

/** One try with one Endpoint; repeated on another UDP port while the peer's VNI is taken on this node. */
async function connect(
  setup: ForwarderHopSetup,
  request: HopRequest,
  endpoint: Candidate,
): Promise<HopResult> {
  for (let move = 0; ; move += 1) {
    try {
      return await connectOnce(setup, request, endpoint, setup.vxlanPort + move);
    } catch (error) {
      const taken = error instanceof NsmError && error.details.rule === 'vni';
      if (!taken || move === portMovesMax) throw error;
      setup.log.info('moved a tunnel to another UDP port: its VNI is taken on this node', {
        connectionId: request.connection.id,
      });
    }
  }
}

async function connectOnce(
  setup: ForwarderHopSetup,
  request: HopRequest,
  endpoint: Candidate,
  listenPort: number,
): Promise<HopResult> {
  const { connection, previous, call } = request;
  const client = connection.mechanism;
  const offer = onwardOffer(setup, { request, endpoint, listenPort });
  const { mechanism: _, ...withoutMechanism } = connection;
  const next = { nextUrl: endpoint.url, nextName: endpoint.name };
  const left = leftFor(next, previous);
  const asked: Connection = {
    ...(left === undefined ? withoutMechanism : endedHere(withoutMechanism)),
    networkServiceEndpointName: endpoint.name,
    ...(offer.mechanism === undefined ? {} : { mechanism: offer.mechanism }),
  };
  // Should this process be killed before it has the answer, its next life closes there what it cannot name.
  if (previous === undefined) {
    await request.recordIntent(next);
  } else if (left !== undefined) {
    const leaving = { url: endpoint.url, connection: asked };
    await request.recordIntent({ ...previous.memory, leaving });
  }
  const answer = await setup.nextHop.request(
    endpoint.url,
    { connection: asked, preferences: offer.preferences },
    call,
  );
  if (answer.mechanism?.type !== mechanismType.wireguard) {
    setup.tunnelPorts.drop(connection.id, ownKeyName(connection.id, 'endpoint', endpoint.name));
  }
  const agreed: HopMemory = {
    ...next,
    ...(answer.mechanism === undefined ? {} : { onwardMechanism: answer.mechanism }),
  };
  try {
    const ends = { client, onward: answer.mechanism, nextName: endpoint.name };
    const { replaces } = request;
    const wire: Wire = {
      ...wireOf({ answer, ...ends, keys: setup.tunnelKeys, hop: setup.name }),
      ...(replaces && { replaces: { forwarder: replaces.name, id: replaces.id } }),
    };
    const memory: HopMemory = { ...agreed, namespaces: setup.completion.identify(wire) };
    await request.recordIntent(left === undefined ? memory : { ...memory, leaving: left });
    await setup.dataplane.ensure(wire, { timeoutMs: timeLeft(setup, call), signal: call.signal });
    setup.completion.settled(wire.id);
    return { connection: withMtu(withClientMechanism(answer, client), wire.mtu), memory };
  } catch (error) {
    // What held before this Request goes on; a next hop that is new must not be left with a connection.
    if (previous === undefined || left !== undefined) {
      await setup.nextHop.leave(endpoint.url, onwardView(answer, agreed), call.deadlineMs);
    }
    throw error;
  }
}

/** What a reselect leaves; undefined where it goes on to the same next hop. */
function leftFor(next: HopMemory, previous: HopRequest['previous']): LeftHop | undefined {
  const url = previous?.memory.nextUrl;
  if (previous === undefined || url === undefined) return undefined;
  if (leadsToSame(previous.memory, next)) return undefined;
  return { url, connection: onwardView(previous.connection, previous.memory) };
}

/** Behind this hop the path is another one from now on. */
function endedHere(connection: Connection): Connection {
  const { path } = connection;
  if (path === undefined) return connection;
  return {
    ...connection,
    path: { ...path, pathSegments: path.pathSegments.slice(0, path.index + 1) },
  };
}

function withClientMechanism(answer: Connection, client: Connection['mechanism']): Connection {
  const { mechanism: _, ...rest } = answer;
  return client === undefined ? rest : { ...rest, mechanism: client };
}

/** What the wire was made with, so that every hop and the workloads know; 0 where nobody asked for one. */
function withMtu(connection: Connection, mtu: number): Connection {
  if (mtu === 0 || connection.context?.MTU === mtu) return connection;
  const context = connection.context ?? create(ConnectionContextSchema);
  return { ...connection, context: { ...context, MTU: mtu } };
}

/** Takes the wire down without waiting for anybody's permission, and tells the next hop. */
async function close(
  setup: ForwarderHopSetup,
  connection: Connection,
  memory: HopMemory,
  call: Call,
): Promise<void> {
  const { ending } = call;
  const signal = ending && { signal: ending };
  const [removed, told] = await Promise.allSettled([
    setup.dataplane.remove([connection.id], { timeoutMs: setup.undoTimeoutMs, ...signal }),
    closeOnward(setup, connection, memory, call),
  ]);
  if (removed.status === 'rejected') throw notRemoved(setup, connection, removed.reason);
  setup.completion.settled(connection.id);
  // Not before: while the tunnel is there nobody else may have its VNI, or its port.
  releaseNumbers(setup, connection.id);
  if (told.status === 'rejected') throw told.reason;
}

async function repair(
  setup: ForwarderHopSetup,
  connection: Connection,
  memory: HopMemory,
  call: Call,
): Promise<readonly string[]> {
  const { signal } = call;
  const budget = () => ({ timeoutMs: timeLeft(setup, call), signal });
  const missing = await setup.dataplane.inspect(connection.id, budget());
  if (missing.length === 0) return missing;
  const { onwardMechanism: onward, nextName, namespaces } = memory;
  const ends = { client: connection.mechanism, onward, nextName };
  const wire = wireOf({ answer: connection, ...ends, keys: setup.tunnelKeys, hop: setup.name });
  await setup.completion.complete(wire, namespaces, budget());
  return missing;
}

function notRemoved(setup: ForwarderHopSetup, connection: Connection, cause: unknown): NsmError {
  const error = asNsmError(cause);
  return new NsmError(error.code, 'the wire could not be removed', {
    hop: setup.name,
    rule: localPartRule,
    found: describeError(error),
    connectionId: connection.id,
    cause: error,
  });
}

async function closeOnward(
  setup: ForwarderHopSetup,
  connection: Connection,
  memory: HopMemory,
  call: Call,
): Promise<void> {
  if (memory.nextUrl === undefined) return;
  await setup.nextHop.close(memory.nextUrl, onwardView(connection, memory), call);
}

/** The connection as it was agreed on with the next hop. */
function onwardView(connection: Connection, memory: HopMemory): Connection {
  const { mechanism: _, ...rest } = connection;
  return memory.onwardMechanism === undefined
    ? rest
    : { ...rest, mechanism: memory.onwardMechanism };
}

function timeLeft(setup: ForwarderHopSetup, call: Call): number {
  const leftMs = call.deadlineMs - setup.clock.nowMs();
  if (leftMs > 0) return leftMs;
  throw new NsmError('DEADLINE_EXCEEDED', 'no time is left to build the wire', { hop: setup.name });
}
