// One try of a client to have its connection: the Request as a first one, a refresh or a reselect. It runs beside the
// actor, which stays free to be closed meanwhile. Invariant: a try never rejects; it ends within the time
// of what it asks (recovery, then the Request), and at once when it is given up.

import { create } from '@bufbuild/protobuf';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import { timestampFromEpochMs } from '../../protocols/nsm/expiry.ts';
import {
  type Connection,
  ConnectionSchema,
  type Mechanism,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { withClientInterface } from '../../protocols/nsm/client-interface.ts';
import { enterPath, withSegment } from '../../protocols/nsm/path.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Call, NextHop } from '../connection/hop.ts';
import type { Exclusions } from './exclusions.ts';
import type { TokenSource } from '../connection/tokens.ts';

export interface AttemptSetup {
  /** Own component name (`NSM_NAME`). */
  readonly name: string;
  readonly nextHop: NextHop;
  readonly tokens: TokenSource;
  /** `<NSM_NAME>-<n>` in the reference. */
  readonly connectionId: string;
  readonly networkService: string;
  /** Pins the Endpoint; a reselect keeps it. */
  readonly endpointName?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** As asked for; absent where the name was made up. */
  readonly interfaceName?: string;
  readonly preferences: readonly Mechanism[];
  /** URL of the manager (`NSM_CONNECT_TO`). */
  readonly connectTo: string;
  readonly requestTimeoutMs: number;
  /** Shared by the connections of one client. Absent: they do not look at each other. */
  readonly exclusions?: Exclusions;
}

/** `known`: what the try went out from; undefined for a connection that began with it. */
export type Outcome =
  | { readonly known: Connection | undefined; readonly answer: Connection }
  | { readonly known: Connection | undefined; readonly error: NsmError };

export interface Attempt {
  readonly outcome: Promise<Outcome>;
  /** Whether it has asked for another Endpoint; undefined while it prepares. */
  readonly reselects: boolean | undefined;
  giveUp(): void;
}

/** What a try asks for: the connection as it is known here, and whether another Endpoint will do. */
export interface Asked {
  readonly known: Connection | undefined;
  readonly reselects: boolean;
}

export function startAttempt(
  setup: AttemptSetup,
  clock: Clock,
  prepare: (signal: AbortSignal) => Asked | Promise<Asked>,
): Attempt {
  const { signal, abort } = abortable();
  let reselects: boolean | undefined;
  const run = async (): Promise<Outcome> => {
    let known: Connection | undefined;
    try {
      const prepared = await prepare(signal);
      known = prepared.known;
      if (signal.aborted) throw new NsmError('CANCELLED', 'the try was given up');
      reselects = known !== undefined && prepared.reselects;
      const asked = known === undefined ? known : askedOf(setup, known, reselects);
      return { known, answer: await request(setup, clock, signal, asked) };
    } catch (thrown) {
      return { known, error: asNsmError(thrown) };
    }
  };
  return {
    outcome: run(),
    get reselects() {
      return reselects;
    },
    giveUp: abort,
  };
}

function abortable(): { readonly signal: AbortSignal; readonly abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

async function request(
  setup: AttemptSetup,
  clock: Clock,
  signal: AbortSignal,
  asked: Connection | undefined,
): Promise<Connection> {
  const known = asked ?? enterPath(firstConnection(setup), setup.name, () => setup.connectionId);
  const named = withClientInterface(known, setup.interfaceName);
  const base = setup.exclusions?.prepare(setup.connectionId, named) ?? named;
  const own = await setup.tokens.token(undefined);
  const connection = withSegment(base, 0, {
    token: own.token,
    expires: timestampFromEpochMs(own.expiresAtEpochMs),
  });
  const sent = { connection, preferences: setup.preferences };
  const answer = await setup.nextHop.request(setup.connectTo, sent, callFor(setup, clock, signal));
  try {
    setup.exclusions?.accept(setup.connectionId, asked, answer);
  } catch (thrown) {
    await setup.nextHop.close(setup.connectTo, answer, callFor(setup, clock, signal));
    throw thrown;
  }
  return answer;
}

function firstConnection(setup: AttemptSetup): Connection {
  return create(ConnectionSchema, {
    id: setup.connectionId,
    networkService: setup.networkService,
    networkServiceEndpointName: setup.endpointName ?? '',
    labels: { ...setup.labels },
  });
}

/** The same connection as it is, or asking for whichever Endpoint fits now (the reference's default reselect). */
function askedOf(setup: AttemptSetup, connection: Connection, reselects: boolean): Connection {
  // What a hop wishes for is not to be taken for the client's own wish.
  if (!reselects) return { ...connection, state: State.UP };
  const { mechanism: _, ...rest } = connection;
  return {
    ...rest,
    networkServiceEndpointName: setup.endpointName ?? '',
    state: State.RESELECT_REQUESTED,
  };
}

function callFor(setup: AttemptSetup, clock: Clock, signal: AbortSignal): Call {
  return { deadlineMs: clock.nowMs() + setup.requestTimeoutMs, signal, headers: {} };
}
