// Calling the next hop for a connection, and trying several next hops in order. A hop repairs nothing here: it
// passes the request on within the caller's time, and checks that the answer is about the same connection.

import { create } from '@bufbuild/protobuf';
import { asNsmError, describeError, type ErrorCode, NsmError } from '../../protocols/errors.ts';
import { formatLife, lifeHeader } from '../../protocols/nsm/claimed-life.ts';
import { timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../protocols/nsm/gen/networkservice_pb.ts';
import { foundNobody } from '../../protocols/nobody-there.ts';
import { isUnanswered } from '../../protocols/nsm/path.ts';
import { leadsToSame } from '../../protocols/nsm/same-hop.ts';
import type { Clock, WallClock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Dialer, Peer, UnaryOptions } from '../../protocols/ports/rpc.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { JudgeAnswer } from '../authorization/answer-judge.ts';
import { createLeaving, type Leaving } from './leaving.ts';
import type { NextOperation } from './operations.ts';
import type { Call, Candidate, HopMemory, HopRequest, NextHop, Sent } from './hop.ts';

export interface NextHopSetup {
  /** Own component name, for errors. */
  readonly name: string;
  readonly dialer: Dialer;
  readonly clock: Clock;
  readonly wallClock: WallClock;
  readonly log: Log;
  readonly random: Random;
  readonly nextOperation: NextOperation;
  /** Refuses an answer that proves too little; only clients ask. */
  readonly judge?: JudgeAnswer;
}

export function createNextHop(setup: NextHopSetup): NextHop {
  const leaving = createLeaving({
    clock: setup.clock,
    random: setup.random,
    log: setup.log,
    close: (url, connection, call) => closeNextHop(setup, url, connection, call),
  });
  return {
    async request(url, sent, call) {
      await leaving.settled(url, sent.connection.id, call.deadlineMs);
      leaving.returns(url, sent.connection.id);
      try {
        const { answer, peer } = await requestNextHop(setup, url, sent, call);
        if (peer !== undefined) judgeAnswer(setup, leaving, { url, sent, answer, peer });
        return answer;
      } catch (thrown) {
        if (mayHold(sent.connection, thrown)) leaving.leave(url, sent.connection);
        throw thrown;
      }
    },
    close: (url, connection, call) => closeNextHop(setup, url, connection, call),
    tryInOrder: (candidates, call, attempt) => tryInOrder(setup, { candidates, call, attempt }),
    leave(url, connection, deadlineMs) {
      leaving.leave(url, connection);
      return leaving.settled(url, connection.id, deadlineMs);
    },
    leaveReplaced: (previous, next) => leaveReplaced(leaving, previous, next),
    stopLeaving: () => leaving.close(),
  };
}

/**
 * Whether the next hop may have established a first Request whose answer was lost on its way, or with the life that gave
 * it. Nobody could name that connection, nor would refresh it: it is closed by the segment of this hop, which it is
 * behind. What the next hop says itself it has undone.
 */
function mayHold(sent: Connection, thrown: unknown): boolean {
  if (!isUnanswered(sent) || !(thrown instanceof NsmError)) return false;
  return thrown.details.hop === undefined && !foundNobody(thrown) && unanswered.has(thrown.code);
}

const unanswered: ReadonlySet<ErrorCode> = new Set([
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'CANCELLED',
]);

async function requestNextHop(
  setup: NextHopSetup,
  url: string,
  sent: Sent,
  call: Call,
): Promise<{ readonly answer: Connection; readonly peer: Peer | undefined }> {
  const request = create(NetworkServiceRequestSchema);
  // Assigned, not passed to create: create would copy the connection field by field.
  request.connection = sent.connection;
  request.mechanismPreferences = [...sent.preferences];
  const client = setup.dialer.dial(url).client(NetworkService);
  let peer: Peer | undefined;
  const onPeer = (answering: Peer): void => {
    peer = answering;
  };
  const options = unaryOptions(setup, sent.connection, call);
  const answer = await client.request(request, { ...options, ...(setup.judge && { onPeer }) });
  if (answer.id !== sent.connection.id || answer.path?.index !== sent.connection.path?.index) {
    throw new NsmError('UNKNOWN', 'the next hop answered about another connection', {
      hop: setup.name,
      expected: `id ${sent.connection.id} at path index ${sent.connection.path?.index}`,
      found: `id ${answer.id} at path index ${answer.path?.index}`,
      remedy: `check what listens at ${url}`,
    });
  }
  return { answer, peer };
}

/** As in the reference, a connection that was not there before is closed again, and one that was stays as it was. */
function judgeAnswer(
  { judge }: NextHopSetup,
  leaving: Leaving,
  { url, sent, answer, peer }: { url: string; sent: Sent; answer: Connection; peer: Peer },
): void {
  try {
    judge?.(answer, peer);
  } catch (error) {
    const { path } = sent.connection;
    if (path?.index === (path?.pathSegments.length ?? 0) - 1) leaving.leave(url, answer);
    throw error;
  }
}

async function closeNextHop(
  setup: NextHopSetup,
  url: string,
  connection: Connection,
  call: Call,
): Promise<void> {
  const options = unaryOptions(setup, connection, call);
  await setup.dialer.dial(url).client(NetworkService).close(connection, options);
}

function leaveReplaced(leaving: Leaving, previous: HopRequest['previous'], next: HopMemory): void {
  const url = previous?.memory.nextUrl;
  if (previous === undefined || url === undefined || leadsToSame(previous.memory, next)) return;
  const { mechanism: asked, ...rest } = previous.connection;
  const mechanism = previous.memory.onwardMechanism ?? asked;
  leaving.leave(url, mechanism === undefined ? rest : { ...rest, mechanism });
}

function unaryOptions(setup: NextHopSetup, connection: Connection, call: Call): UnaryOptions {
  const timeoutMs = call.deadlineMs - setup.clock.nowMs();
  if (timeoutMs <= 0) {
    throw new NsmError('DEADLINE_EXCEEDED', 'no time is left for the next hop', {
      hop: setup.name,
    });
  }
  const life = lifeOf(connection, setup.wallClock.epochMs());
  return {
    timeoutMs,
    signal: call.signal,
    operation: setup.nextOperation(connection),
    ...(life === undefined ? {} : { headers: { [lifeHeader]: life } }),
  };
}

/** Of what this hop presents: its own segment. */
function lifeOf({ path }: Connection, nowEpochMs: number): string | undefined {
  const expires = path?.pathSegments[path.index]?.expires;
  return expires === undefined ? undefined : formatLife(timestampToEpochMs(expires) - nowEpochMs);
}

interface Attempts<Result> {
  readonly candidates: readonly Candidate[];
  readonly call: Call;
  readonly attempt: (candidate: Candidate, call: Call) => Promise<Result>;
}

async function tryInOrder<Result>(
  setup: NextHopSetup,
  { candidates, call, attempt }: Attempts<Result>,
): Promise<Result> {
  const failures: { candidate: Candidate; error: NsmError }[] = [];
  let waiting = candidates;
  while (waiting.length > 0) {
    const [candidate, ...others] = waiting as readonly [Candidate, ...Candidate[]];
    const remainingMs = call.deadlineMs - setup.clock.nowMs();
    if (remainingMs <= 0 || call.signal.aborted) break;
    const { hangMsMax = Infinity } = candidate;
    const timeMs =
      others.length === 0
        ? Math.min(remainingMs, hangMsMax * lastHangFactor)
        : Math.min(remainingMs / 2, hangMsMax);
    waiting = others;
    try {
      return await attempt(candidate, { ...call, deadlineMs: setup.clock.nowMs() + timeMs });
    } catch (thrown) {
      if (!(thrown instanceof NsmError)) throw thrown;
      failures.push({ candidate, error: asNsmError(thrown) });
      // Whoever else is reached the same way hangs as well.
      if (thrown.code === 'DEADLINE_EXCEEDED') waiting = behindOthers(others, candidate.url);
    }
  }
  throw allFailed(setup.name, candidates.length, failures);
}

/** A last one that is slow has more time, but whoever asks is not kept from asking anew. */
const lastHangFactor = 5;

function behindOthers(candidates: readonly Candidate[], url: string): readonly Candidate[] {
  return candidates.toSorted((a, b) => Number(a.url === url) - Number(b.url === url));
}

/** Failures that are spelled out in one error. */
const failuresNamedMax = 5;

function allFailed(
  hop: string,
  candidates: number,
  failures: readonly { candidate: Candidate; error: NsmError }[],
): NsmError {
  const [first] = failures;
  // One candidate: its own refusal says it best.
  if (candidates === 1 && first !== undefined) return first.error;
  const same = failures.every(({ error }) => error.code === first?.error.code);
  const code: ErrorCode =
    first === undefined ? 'DEADLINE_EXCEEDED' : same ? first.error.code : 'UNAVAILABLE';
  const named = failures
    .slice(0, failuresNamedMax)
    .map(({ candidate, error }) => `${candidate.name}: ${describeError(error)}`);
  const unnamed = failures.length - named.length;
  return new NsmError(
    code,
    `${failures.length} of ${candidates} candidates failed, none succeeded`,
    {
      hop,
      rule: 'try-in-order',
      found: named.join(' | ') + (unnamed > 0 ? ` | and ${unnamed} more` : ''),
      expected: 'one candidate that answers',
    },
  );
}
