// What the calls under way at their caller have in common: how the inbox sees them, what they need of their dialer
// and callee, and the ways in which a call fails before or beside its answer.

import type { DescMethod, Message } from '@bufbuild/protobuf';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { NsmError } from '../../protocols/errors.ts';
import type { FrameKind } from '../../protocols/messages/call-envelope.ts';
import { encodeFrame, frameHeader } from '../../protocols/messages/call-envelope.ts';
import { callToken } from '../../protocols/messages/subjects.ts';
import type { CallHeaders } from '../../protocols/ports/rpc.ts';
import type { NatsBus } from './nats-bus.ts';
import type { BusCallee, Reception } from './nats-callee.ts';
import type { StreamTicker } from './stream-ticker.ts';

/** A call under way, as the inbox sees it. */
export interface ClientCall {
  onFrame(reception: Reception): void;
  /** The server says that nobody subscribes to the callee's subject. */
  onNoResponders(): void;
  onFailure(error: NsmError): void;
}

/** What a call needs of its dialer and callee. */
export interface BusCaller {
  readonly bus: NatsBus;
  readonly url: string;
  /** `nsm.<domain>.<node>.<component>` of the callee. */
  readonly subject: string;
  readonly callee: BusCallee;
  readonly ticker: StreamTicker;
  readonly callHeaders: CallHeaders | undefined;
  /** Errors: RESOURCE_EXHAUSTED. */
  begin(call: ClientCall): string;
  end(id: string): void;
  inbox(id: string): string;
}

/** How long after a reconnect a callee may need to subscribe again. */
export const resubscribeMs = 2000;
/** How often it is tried meanwhile. */
export const retryMs = 50;
/** Instances of a callee that answer one call with "send it again for my clock" before it fails. */
export const resyncsMax = 3;

/** Messages that a sender may be ahead of its receiver. */
export const streamWindow = 64;

export function noResponders(caller: BusCaller): NsmError {
  return new NsmError('UNAVAILABLE', 'nobody on the bus serves this component', {
    rule: 'responders',
    expected: caller.url,
    remedy: 'look whether the component runs and is connected to the same bus',
  });
}

export function encodeBody(method: DescMethod, request: Message): Uint8Array {
  try {
    return toBinary(method.input, request);
  } catch (cause) {
    throw new NsmError('INVALID_ARGUMENT', `the request is no ${method.input.typeName}`, {
      rule: 'request-encoding',
      found: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
}

export function decodeBody(schema: DescMethod['output'], body: Uint8Array): Message {
  try {
    return fromBinary(schema, body);
  } catch (cause) {
    throw new NsmError('INTERNAL', `the peer's answer is no ${schema.typeName}`, {
      rule: 'answer-encoding',
      found: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
}

export function unreadable(what: string): NsmError {
  return new NsmError('UNKNOWN', `the peer sent ${what} that cannot be read`, {
    rule: 'answer-encoding',
  });
}

export function unsettledPeer(caller: BusCaller): NsmError {
  return new NsmError('UNAVAILABLE', 'the component does not settle on one instance', {
    rule: 'instance',
    expected: `one process serving ${caller.url}`,
    found: `another instance in each of ${resyncsMax} answers`,
    remedy: 'look for two processes with the same component name',
  });
}

/** Sends what belongs to a call under way. Its callee has begun nothing as long as no instance of it is known. */
export function sendControl(
  caller: BusCaller,
  id: string,
  frame: { readonly kind: FrameKind; readonly count: number },
  body: Uint8Array = new Uint8Array(0),
): void {
  const { bus, subject, callee } = caller;
  const { instance = '-' } = callee.time;
  const line = encodeFrame({ ...frame, instance, sentAt: bus.clock.nowMs() });
  const reply = frame.kind === 'cancel' ? '' : caller.inbox(id);
  const compose = () => ({ headers: { [frameHeader]: line }, body });
  callee.send({ subject: `${subject}.${callToken}.${id}`, reply, compose });
}
