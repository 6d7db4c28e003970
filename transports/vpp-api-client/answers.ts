// How the three kinds of calls are answered: a request by its reply, a dump by details until the control_ping that was
// sent right after it is answered, since VPP works in order, a stream by details until its own reply.
// Invariant: an answer is bounded in entries and bytes; past the bound the call fails and the rest is ignored.

import { NsmError } from '../../protocols/errors.ts';
import type { CallOutcome } from '../../protocols/stream-link/link.ts';
import type { ApiService } from '../../protocols/vpp/api-definition.ts';
import { isStreamRefused, vppRefusal } from '../../protocols/vpp/return-codes.ts';
import type { VppFields } from '../../protocols/vpp/values.ts';
import type { AnswerListener, VppSession } from './vpp-session.ts';

export interface AnswerLimits {
  /** Details in the answer to one call. */
  readonly detailsMax: number;
  /** Their bytes together. */
  readonly answerBytesMax: number;
}

export interface Call {
  readonly name: string;
  readonly fields: VppFields;
}

export interface Details {
  readonly details: readonly VppFields[];
  readonly reply: VppFields;
}

/** The caller gave up. */
export type Abandon = () => void;

/** All throw what makes the call impossible, before anything is sent. */
export function sendRequest(
  session: VppSession,
  { name, fields }: Call,
  outcome: CallOutcome<VppFields>,
): Abandon {
  const { codec, service } = prepared(session, name, 'request');
  if (service.reply === undefined) {
    session.forget(session.send(codec, fields, ignored));
    outcome.resolve({});
    return () => {};
  }
  const context = session.send(codec, fields, {
    onMessage(message, answer) {
      session.forget(context);
      if (message !== service.reply) outcome.reject(unexpected(name, `${service.reply}`, message));
      else if (retvalOf(answer) < 0) outcome.reject(vppRefusal(name, retvalOf(answer)));
      else outcome.resolve(answer);
    },
    onUnreadable(error) {
      session.forget(context);
      outcome.reject(error);
    },
  });
  return () => session.forget(context);
}

export function sendDump(
  session: VppSession,
  { name, fields, limits }: Call & { readonly limits: AnswerLimits },
  outcome: CallOutcome<Details>,
): Abandon {
  const { codec, service, table } = prepared(session, name, 'dump');
  const ping = table.request('control_ping');
  const collector = createCollector(name, limits);
  const contexts: number[] = [];
  const abandon = (): void => contexts.forEach((context) => session.forget(context));
  const fail = (error: NsmError): void => {
    abandon();
    outcome.reject(error);
  };
  contexts.push(
    session.send(codec, fields, {
      onMessage(message, answer, bytes) {
        if (message === service.reply) collector.add(answer, bytes, fail);
        else fail(unexpected(name, `${service.reply}`, message));
      },
      onUnreadable: fail,
    }),
    session.send(
      ping,
      {},
      {
        onMessage(_, reply) {
          abandon();
          outcome.resolve({ details: collector.details, reply });
        },
        onUnreadable: fail,
      },
    ),
  );
  return abandon;
}

export function sendStream(
  session: VppSession,
  { name, fields, limits }: Call & { readonly limits: AnswerLimits },
  outcome: CallOutcome<Details>,
): Abandon {
  const { codec, service } = prepared(session, name, 'stream');
  const collector = createCollector(name, limits);
  const fail = (error: NsmError): void => {
    session.forget(context);
    outcome.reject(error);
  };
  const context = session.send(codec, fields, {
    onMessage(message, answer, bytes) {
      if (message === service.streamMessage) return collector.add(answer, bytes, fail);
      if (message !== service.reply) return fail(unexpected(name, `${service.reply}`, message));
      const retval = retvalOf(answer);
      if (isStreamRefused(retval, answer['cursor'])) return fail(vppRefusal(name, retval));
      session.forget(context);
      return outcome.resolve({ details: collector.details, reply: answer });
    },
    onUnreadable: fail,
  });
  return () => session.forget(context);
}

const ignored: AnswerListener = { onMessage: () => {}, onUnreadable: () => {} };

type CallKind = 'request' | 'dump' | 'stream';

function kindOf({ isStream, streamMessage }: ApiService): CallKind {
  if (streamMessage !== undefined) return 'stream';
  return isStream ? 'dump' : 'request';
}

function prepared(session: VppSession, name: string, kind: CallKind) {
  const { table } = session;
  if (table === undefined) throw new NsmError('UNAVAILABLE', 'VPP is not connected');
  const codec = table.request(name);
  const service = table.service(name);
  const found = service === undefined ? 'no request' : `a ${kindOf(service)}`;
  if (service === undefined || kindOf(service) !== kind) {
    throw new NsmError('INVALID_ARGUMENT', `${name} cannot be called like that`, {
      rule: 'service',
      expected: `a ${kind}`,
      found,
      remedy: 'request, dump or stream, as the definitions of the message say',
    });
  }
  return { codec, service, table };
}

function retvalOf(fields: VppFields): number {
  return Number(fields['retval'] ?? 0);
}

interface Collector {
  readonly details: readonly VppFields[];
  add(fields: VppFields, bytes: number, fail: (error: NsmError) => void): void;
}

function createCollector(name: string, { detailsMax, answerBytesMax }: AnswerLimits): Collector {
  const details: VppFields[] = [];
  let total = 0;
  return {
    details,
    add(fields, bytes, fail) {
      total += bytes;
      if (details.length < detailsMax && total <= answerBytesMax) details.push(fields);
      else fail(tooLong(name, `at most ${detailsMax} details and ${answerBytesMax} bytes`));
    },
  };
}

export function tooLong(name: string, expected: string): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', `${name} has too long an answer`, {
    rule: 'details',
    expected,
    found: 'more',
    remedy: 'ask for fewer',
  });
}

function unexpected(name: string, expected: string, found: string): NsmError {
  return new NsmError('UNKNOWN', 'VPP answered with something else', {
    rule: name,
    expected,
    found,
  });
}
