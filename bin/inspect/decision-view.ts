// What `vwire why` shows of a choice. The field names are those of `-o json|yaml`; a file in that form holds all that
// the explanation needs, so that it can be shown again without a mesh. Times are ISO texts, what is not known is null.

import { parse } from 'yaml';
import { z } from 'zod';
import { NsmError } from '../../protocols/errors.ts';
import type { Decision } from '../../protocols/nsm/gen/vwire_inspect_pb.ts';
import { isoText } from './views.ts';

const text = z.string();
const count = z.number().int().nonnegative();

const decisionSchema = z.object({
  /** Null for what would be chosen now. */
  id: text.nullable(),
  at: text.nullable(),
  /** The component that decided. */
  hop: text.nullable(),
  kind: z.enum(['endpoint', 'forwarder']),
  service: text,
  client: text.nullable(),
  connectionIds: z.array(text),
  labels: z.record(text, text),
  reselect: z.boolean(),
  policy: text,
  policyFrom: text,
  turn: count.nullable(),
  matches: z.array(z.object({ match: count, outcome: text, reason: text })),
  candidates: count,
  verdicts: z.array(z.object({ name: text, verdict: text, reason: text })),
  unnamed: count,
  taken: text.nullable(),
  error: text.nullable(),
});

const whySchema = z.object({
  /** The id, or the service, that was asked about. */
  asked: text,
  decisions: z.array(decisionSchema),
  /** Forwarders that did not tell theirs, with the reason. */
  unheard: z.array(text),
});

export type DecisionView = z.infer<typeof decisionSchema>;
export type WhyView = z.infer<typeof whySchema>;

export function decisionView(decision: Decision): DecisionView {
  const { matches, verdicts, kind, turn, ...rest } = decision;
  return {
    id: rest.id,
    at: isoText(Number(rest.atEpochMs)),
    hop: rest.hop,
    kind: kind === 'forwarder' ? 'forwarder' : 'endpoint',
    service: rest.service,
    client: rest.client || null,
    connectionIds: rest.connectionIds,
    labels: rest.labels,
    reselect: rest.reselect,
    policy: rest.policy,
    policyFrom: rest.policyFrom,
    turn: turn === 0n ? null : Number(turn),
    matches: matches.map(({ match, outcome, reason }) => ({ match, outcome, reason })),
    candidates: rest.candidates,
    verdicts: verdicts.map(({ name, verdict, reason }) => ({ name, verdict, reason })),
    unnamed: rest.unnamed,
    taken: rest.taken || null,
    error: rest.error || null,
  };
}

/** What `-o json` or `-o yaml` wrote. Errors: INVALID_ARGUMENT naming the place. */
export function readWhyFile(content: string, file: string): WhyView {
  const read = whySchema.safeParse(parsed(content, file));
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const place = (issue?.path ?? []).join('.') || 'the whole file';
  throw unreadable(file, place, issue?.message ?? 'something else');
}

function parsed(content: string, file: string): unknown {
  try {
    // JSON is YAML, so one reader does for both.
    return parse(content, { maxAliasCount: 0, logLevel: 'error' });
  } catch (error) {
    throw unreadable(file, 'its text', String(error).split('\n')[0] ?? '');
  }
}

function unreadable(file: string, place: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', `${file} holds no recorded decision`, {
    rule: place,
    found,
    expected: 'what vwire why ... -o json or -o yaml has written',
  });
}
