// A recorded decision as `vwire why` is told of it: every candidate with what spoke for or against it, in the order
// taken, failed, in reserve, passed over, refused. A manager asks its forwarders in turn, so that one socket tells of
// both choices of a connection.

import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Decision, Decisions } from '../../actors/selection/decisions.ts';
import { asNsmError, describeError } from '../../protocols/errors.ts';
import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import {
  CandidateVerdictSchema,
  type Decision as DecisionMessage,
  DecisionSchema,
  type DecisionsReply,
  DecisionsReplySchema,
  DecisionsRequestSchema,
  Inspection,
} from '../../protocols/nsm/gen/vwire_inspect_pb.ts';
import type { CallContext } from '../../protocols/ports/rpc.ts';
import type { Platform } from './platform.ts';

export interface DecisionReplies {
  readonly platform: Platform;
  /** Component name. */
  readonly name: string;
  readonly decisions: Decisions;
  /** Asked as well; none at a forwarder. */
  readonly forwarders?: () => readonly NetworkServiceEndpoint[];
}

/** Left to this process for its own answer. */
const ownShareMs = 250;
const forwarderTimeoutMs = 2_000;

export async function decisionsReply(
  { platform, name, decisions, forwarders }: DecisionReplies,
  key: string,
  call: CallContext,
): Promise<DecisionsReply> {
  const own = decisions.find(key).map((each) => decisionMessage(name, each));
  const leftMs = call.deadlineMs - platform.clock.nowMs() - ownShareMs;
  const options = {
    timeoutMs: Math.max(1, Math.min(forwarderTimeoutMs, leftMs)),
    signal: call.signal,
  };
  const unheard: string[] = [];
  const ask = async ({ name: forwarder, url }: NetworkServiceEndpoint) => {
    try {
      const client = platform.dialer.dial(url).client(Inspection);
      return (await client.decisions(create(DecisionsRequestSchema, { key }), options)).decisions;
    } catch (error) {
      const isForeign = asNsmError(error).code === 'UNIMPLEMENTED';
      unheard.push(`${forwarder}: ${isForeign ? 'records no decisions' : describeError(error)}`);
      return [];
    }
  };
  const others = await Promise.all((forwarders?.() ?? []).map(ask));
  // An Endpoint is chosen after its forwarder, if within the same millisecond.
  const all = [...others.flat(), ...own].toSorted((a, b) => Number(b.atEpochMs - a.atEpochMs));
  return create(DecisionsReplySchema, { decisions: all, unheard });
}

function decisionMessage(hop: string, decision: Decision): DecisionMessage {
  const explanation = decision.explain();
  const { id, kind, service, client, connectionIds, labels, reselect, policy, policyFrom } =
    decision;
  return create(DecisionSchema, {
    id,
    atEpochMs: BigInt(Math.max(0, Math.round(decision.atEpochMs))),
    hop,
    kind,
    service,
    client,
    connectionIds: [...connectionIds],
    labels: { ...labels },
    reselect,
    policy,
    policyFrom,
    turn: BigInt(decision.turn),
    matches: (explanation?.matches ?? []).map(({ matchIndex, outcome, reason }) => ({
      match: matchIndex + 1,
      outcome,
      reason,
    })),
    candidates: decision.candidateCount,
    verdicts: verdictsOf(decision).map((each) => create(CandidateVerdictSchema, each)),
    unnamed: explanation?.unnamed ?? 0,
    taken: decision.taken ?? '',
    error: decision.error ?? '',
  });
}

type Verdict = Omit<MessageInitShape<typeof CandidateVerdictSchema>, '$typeName' | '$unknown'>;

function verdictsOf(decision: Decision): readonly Verdict[] {
  const { order, taken, failures, passedOver } = decision;
  const noteOf = (name: string): string => decision.notes[order.indexOf(name)] ?? '';
  const whyLast = new Map(passedOver.map(({ name, reason }) => [name, reason]));
  const failed = new Set(failures.map(({ name }) => name));
  const reserve = order.filter((name) => name !== taken && !failed.has(name));
  const named = new Set(order);
  const refused = decision.explain()?.refused ?? [];
  return [
    ...(taken === undefined ? [] : [{ name: taken, verdict: 'taken', reason: noteOf(taken) }]),
    ...failures.map(({ name, error }) => ({ name, verdict: 'failed', reason: error })),
    ...reserve.map((name) => ({
      name,
      verdict: 'inReserve',
      reason: whyLast.get(name) ?? noteOf(name),
    })),
    ...passedOver
      .filter(({ name }) => !named.has(name))
      .map(({ name, reason }) => ({ name, verdict: 'passedOver', reason })),
    ...refused.map(({ name, reason }) => ({ name, verdict: 'refused', reason })),
  ];
}
