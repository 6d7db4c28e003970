// What the calls under way at their caller have in common: how the inbox sees them, what they need of their dialer
// and callee, and the ways in which a call fails before or beside its answer.

import type { DescMethod, Message } from '@bufbuild/protobuf';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { NsmError } from '../../protocols/errors.ts';
import type { Frame } from '../../protocols/messages/call-envelope.ts';
import type { PeerTime } from '../../protocols/messages/peer-time.ts';
import type { CallHeaders, Headers, Peer } from '../../protocols/ports/rpc.ts';
import type { NatsBus } from './nats-bus.ts';
import type { StreamTicker } from './stream-ticker.ts';

/** Who is on the other side of the bus: nobody proves it. */
export const busPeer: Peer = Object.freeze({ binding: 'nats' });

/** A frame of the callee with what came along. */
export interface Reception {
  readonly frame: Frame;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

/** A call under way, as the inbox sees it. */
export interface ClientCall {
  onFrame(reception: Reception): void;
  /** The server says that nobody subscribes to the callee's subject. */
  onNoResponders(): void;
  onBusLost(error: NsmError): void;
}

/** What a call needs of its dialer and callee. */
export interface BusCaller {
  readonly bus: NatsBus;
  readonly url: string;
  /** `nsm.<domain>.<node>.<component>` of the callee. */
  readonly subject: string;
  readonly peer: PeerTime;
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
