// A passthrough Endpoint's part of a connection: it serves a client and is itself a client of the next Endpoint, in one
// path. NSM concept: replacelabels and replacensename. Towards the next it shows its own labels, so that the service's
// matches pick what comes behind it; the client sees its own labels and the passthrough's name again. Addresses and
// everything else of the context are the last Endpoint's. Invariant: it stands in a path once.

import { NsmError } from '../../protocols/errors.ts';
import { type Connection, type Mechanism, State } from '../../protocols/nsm/gen/connection_pb.ts';
import { kernelMechanism } from '../../protocols/nsm/kernel-mechanism.ts';
import {
  mechanismType,
  parameter,
  parameterKey,
  pickMechanism,
  withParameters,
} from '../../protocols/nsm/mechanism.ts';
import type { Chain } from '../../protocols/ports/chain.ts';
import type { Hop, HopMemory, HopRequest, HopResult, NextHop } from '../connection/hop.ts';

export interface PassthroughSetup {
  readonly name: string;
  readonly nextHop: NextHop;
  /** URL of the manager, which both wires come through. */
  readonly connectTo: string;
  /** Those that it registers with, shown to the service's matches in place of the client's. */
  readonly labels: Readonly<Record<string, string>>;
  /** URL of the namespace that both wires end in. */
  readonly netns: string;
  readonly chain: Chain;
  /** A free name for an interface of this service. */
  readonly newInterfaceName: (networkService: string) => string;
}

export function passthroughHop(setup: PassthroughSetup): Hop {
  return {
    request: (request) => onRequest(setup, request),
    async close(connection, memory, call) {
      setup.chain.leave(connection.id);
      if (memory.nextUrl === undefined) return;
      await setup.nextHop.close(memory.nextUrl, onwardView(setup, connection, memory), call);
    },
  };
}

async function onRequest(setup: PassthroughSetup, request: HopRequest): Promise<HopResult> {
  const { connection, preferences, previous, reselect, call } = request;
  refuseLoop(setup, connection);
  const asked = pickMechanism({
    current: connection.mechanism,
    preferences,
    supported: [mechanismType.kernel],
  });
  const service = connection.networkService;
  const mechanism = withParameters(asked, {
    [parameterKey.inodeUrl]: setup.netns,
    [parameterKey.name]: nameOf(asked) ?? setup.newInterfaceName(service),
  });
  const memory = reselect ? {} : (previous?.memory ?? {});
  const downstream = nameOf(previous?.memory.onwardMechanism) ?? setup.newInterfaceName(service);
  const own = kernelMechanism({ netnsUrl: setup.netns, interfaceName: downstream });
  const sent = { connection: onwardView(setup, connection, memory), preferences: [own] };
  const answer = await setup.nextHop.request(setup.connectTo, sent, call);
  const { labels, networkServiceEndpointName } = connection;
  const result: HopResult = {
    connection: { ...answer, labels, networkServiceEndpointName, mechanism },
    memory: {
      nextUrl: setup.connectTo,
      nextName: answer.networkServiceEndpointName,
      onwardMechanism: answer.mechanism ?? own,
    },
  };
  try {
    await request.recordIntent(result.memory);
  } catch (error) {
    // What held before this Request goes on; a wire that is new must not be left without its owner.
    if (previous === undefined) await leaveNext(setup, result, call.deadlineMs);
    throw error;
  }
  joinEnds(setup.chain, result.connection, result.memory);
  return result;
}

async function leaveNext(
  setup: PassthroughSetup,
  { connection, memory }: HopResult,
  deadlineMs: number,
): Promise<void> {
  await setup.nextHop.leave(setup.connectTo, onwardView(setup, connection, memory), deadlineMs);
}

/** Also for a connection of an earlier life, from what was recorded of it. */
export function joinEnds(chain: Chain, connection: Connection, memory: HopMemory): void {
  const upstream = nameOf(connection.mechanism);
  const downstream = nameOf(memory.onwardMechanism);
  if (upstream === undefined || downstream === undefined) return;
  chain.join({ connectionId: connection.id, upstream, downstream, payload: connection.payload });
}

/** The connection as the next hop is to see it; without a name it is to choose. */
function onwardView(
  { labels, netns }: PassthroughSetup,
  connection: Connection,
  { nextName, onwardMechanism }: HopMemory,
): Connection {
  const { mechanism: _, ...rest } = connection;
  const view = { ...rest, labels: { ...labels }, networkServiceEndpointName: nextName ?? '' };
  // A wire that ended in another namespace than this life's is of no use here.
  const isHere = onwardMechanism !== undefined && endsIn(onwardMechanism, netns);
  return isHere ? { ...view, mechanism: onwardMechanism } : view;
}

export function endsIn(mechanism: Mechanism, netns: string): boolean {
  return parameter(mechanism, parameterKey.inodeUrl) === netns;
}

function nameOf(mechanism: Mechanism | undefined): string | undefined {
  return mechanism && (parameter(mechanism, parameterKey.name) || undefined);
}

/** Without matches that lead further, the service would lead it to itself until the path has no room. */
function refuseLoop({ name }: PassthroughSetup, connection: Connection): void {
  const { path } = connection;
  const before = path?.pathSegments.slice(0, path.index) ?? [];
  if (!before.some((segment) => segment.name === name)) return;
  throw new NsmError('FAILED_PRECONDITION', `the connection goes through ${name} already`, {
    hop: name,
    rule: 'passthrough-loop',
    expected: 'a match of the service that leads clients with its labels to the next Endpoint',
    found: before.map((segment) => segment.name).join(' > '),
    remedy: 'give the service a match whose source_selector has the labels of this passthrough',
    connectionId: connection.id,
  });
}

/** A wire whose near end is in a namespace that this life does not have: its client has to ask for it anew. */
export function asDown(connection: Connection): Connection {
  return { ...connection, state: State.DOWN };
}
