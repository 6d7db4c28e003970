// What the calls in flight at their callee have in common: how their component sees them, what they need of it, and
// how a request is read.

import type { Message } from '@bufbuild/protobuf';
import { fromBinary } from '@bufbuild/protobuf';
import { NsmError } from '../../protocols/errors.ts';
import type { CallOpening, Frame, FrameKind } from '../../protocols/messages/call-envelope.ts';
import type { OperationGuard } from '../../protocols/messages/operation-guard.ts';
import type { ServedCall, ServedMethod } from '../../protocols/messages/served-call.ts';
import type { Headers } from '../../protocols/ports/rpc.ts';
import type { Session } from './bus-session.ts';
import type { NatsBus } from './nats-bus.ts';
import type { StreamTicker } from './stream-ticker.ts';

/** A call in flight, as its component sees it. */
export interface BusServedCall {
  /** SPIFFE ID of who has called, where that was proven: nobody else may say anything about it. */
  readonly caller: string | undefined;
  abort(reason: NsmError): void;
  /** A frame of the caller for this call. */
  onFrame(frame: Frame, body: Uint8Array): void;
  onBusLost(): void;
}

/** Where to and to whom an answer goes. */
export interface ReplyTo {
  readonly subject: string;
  /** Undefined for one that proved nothing: the answer is open to all as well. */
  readonly session?: Session;
  /** For who does not know the own key yet. */
  readonly greeting?: Headers;
}

/** A call that may begin. */
export interface IncomingCall {
  readonly host: BusHost;
  readonly served: ServedMethod;
  readonly opening: CallOpening;
  readonly reply: ReplyTo;
  readonly request: Message;
  readonly call: ServedCall;
}

/** One component. */
export interface BusHost {
  readonly bus: NatsBus;
  readonly ticker: StreamTicker;
  readonly guard: OperationGuard;
  begin(id: string, call: BusServedCall, isWatch: boolean): void;
  end(id: string, call: BusServedCall): void;
  /** Whether what the caller proved still holds. */
  isTrusted(to: ReplyTo): boolean;
  /** Sends a frame to a caller's inbox. Errors: RESOURCE_EXHAUSTED. */
  send(to: ReplyTo, kind: FrameKind, count: number, content?: FrameContent): void;
  refuse(to: ReplyTo, error: NsmError): void;
}

export interface FrameContent {
  readonly headers?: Headers;
  readonly body?: Uint8Array;
}

export function decodeRequest(served: ServedMethod, body: Uint8Array): Message {
  try {
    return fromBinary(served.method.input, body);
  } catch (cause) {
    throw new NsmError('INVALID_ARGUMENT', 'the request cannot be decoded', {
      rule: 'request-encoding',
      expected: served.method.input.typeName,
      found: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
}
