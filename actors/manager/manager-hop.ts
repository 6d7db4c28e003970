// The manager's part of a connection: it chooses a forwarder of its node, by the service's matches, keeps to it
// across refreshes, and passes the Request on. It programs nothing and has no right to.

import { NsmError } from '../../protocols/errors.ts';
import { foundNobody } from '../../protocols/nobody-there.ts';
import { type Connection, State } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Call, Hop, HopRequest, HopResult, NextHop } from '../connection/hop.ts';
import { Absences } from './absences.ts';
import { withExcludedPrefixes, withoutAddedPrefixes } from './excluded-prefixes.ts';
import {
  chooseForwarders,
  type ForwarderSelectionSetup,
  holderOf,
  type SelectedForwarders,
} from './select-forwarder.ts';

export interface ManagerHopOptions extends Omit<ForwarderSelectionSetup, 'absences'> {
  /** Whether whoever listens at the URL says anything within the call's time. Never rejects. */
  readonly answers: (url: string, call: Call) => Promise<boolean>;
  readonly clock: Clock;
  readonly nextHop: NextHop;
  readonly log: Log;
  /** How long a forwarder may be away before another one takes its wires over. */
  readonly forwarderGraceMs: number;
  /** Prefixes that no Endpoint may give to this node's workloads. */
  readonly excludedPrefixes: () => readonly string[];
  /** Told of each connection that has come up, or was refreshed. */
  readonly onAnswered?: (connection: Connection) => void;
}

type ManagerHopSetup = ManagerHopOptions & ForwarderSelectionSetup;

export function managerHop(options: ManagerHopOptions): Hop {
  const { clock, forwarderGraceMs: graceMs } = options;
  const setup = { ...options, absences: new Absences({ clock, graceMs }) };
  return {
    async request(request) {
      const excluded = setup.excludedPrefixes();
      const connection = withExcludedPrefixes(request.connection, excluded);
      const silent = await silentHolder(setup, request);
      const holder = holderOf(setup, request, silent);
      const view =
        holder ?? (await setup.discovery.discover(connection.networkService, request.call));
      const selected = 'candidates' in view ? view : chooseForwarders(setup, request, view, silent);
      const answered = await tryForwarders(setup, { ...request, connection }, selected);
      const result = {
        ...answered,
        connection: withoutAddedPrefixes(answered.connection, request.connection, excluded),
      };
      setup.nextHop.leaveReplaced(request.previous, result.memory);
      setup.onAnswered?.(result.connection);
      return result;
    },
    async close(connection, memory, call) {
      if (memory.nextUrl !== undefined) await setup.nextHop.close(memory.nextUrl, connection, call);
    },
  };
}

/** Time for a sign of life. */
const silentMs = 1_000;

/**
 * The holder of a wire that is to be repaired, where it is registered and says nothing: its process hangs, and a Request would
 * hang with it.
 */
async function silentHolder(
  setup: ManagerHopSetup,
  { previous, reselect, call }: HopRequest,
): Promise<string | undefined> {
  const name = previous?.memory.nextName;
  if (reselect || name === undefined || previous?.connection.state !== State.DOWN) return undefined;
  const registered = setup.forwarders().find((each) => each.name === name);
  if (registered === undefined) return undefined;
  const deadlineMs = Math.min(call.deadlineMs, setup.clock.nowMs() + silentMs);
  const isThere = await setup.answers(registered.url, { ...call, deadlineMs });
  if (isThere || call.signal.aborted) return undefined;
  setup.absences.missed(name);
  return name;
}

async function tryForwarders(
  setup: ManagerHopSetup,
  request: HopRequest,
  { candidates, decision }: SelectedForwarders,
): Promise<HopResult> {
  const { connection, preferences, call, previous } = request;
  const sent = { connection, preferences };
  try {
    return await setup.nextHop.tryInOrder(candidates, call, async (forwarder, left) => {
      const memory = { nextUrl: forwarder.url, nextName: forwarder.name };
      // Should this process be killed before it has the answer, its next life closes there what it cannot name.
      if (previous === undefined) await request.recordIntent(memory);
      const attempt = () =>
        noting(setup.absences, forwarder.name, () =>
          setup.nextHop.request(forwarder.url, sent, left),
        );
      const answer = decision === undefined ? attempt() : decision.trying(forwarder.name, attempt);
      return { connection: await answer, memory };
    });
  } catch (thrown) {
    throw decision === undefined ? thrown : decision.refused(thrown);
  }
}

/** Who answers, be it with a refusal, is there. */
async function noting<Answer>(
  absences: Absences,
  forwarder: string,
  attempt: () => Promise<Answer>,
): Promise<Answer> {
  try {
    const answer = await attempt();
    absences.seen(forwarder);
    return answer;
  } catch (thrown) {
    if (thrown instanceof NsmError && foundNobody(thrown)) absences.missed(forwarder);
    else if (thrown instanceof NsmError && thrown.details.hop !== undefined)
      absences.seen(forwarder);
    throw thrown;
  }
}
