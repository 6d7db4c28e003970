// What the calls in flight at their callee have in common: how their component sees them, what they need of it, and
// how a request is read.

import type { Message } from '@bufbuild/protobuf';
import { fromBinary } from '@bufbuild/protobuf';
import { NsmError } from '../../protocols/errors.ts';
import type { CallOpening, Frame, FrameKind } from '../../protocols/messages/call-envelope.ts';
import type { OperationGuard } from '../../protocols/messages/operation-guard.ts';
import type { ServedCall, ServedMethod } from '../../protocols/messages/served-call.ts';
import type { Headers } from '../../protocols/ports/rpc.ts';
import type { NatsBus } from './nats-bus.ts';
import type { StreamTicker } from './stream-ticker.ts';

/** A call in flight, as its component sees it. */
export interface BusServedCall {
  abort(reason: NsmError): void;
  /** A frame of the caller for this call. */
  onFrame(frame: Frame, body: Uint8Array): void;
  onBusLost(): void;
}

/** A call that may begin. */
export interface IncomingCall {
  readonly host: BusHost;
  readonly served: ServedMethod;
  readonly opening: CallOpening;
  readonly reply: string;
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
  /** Sends a frame to a caller's inbox. Errors: RESOURCE_EXHAUSTED. */
  send(reply: string, kind: FrameKind, count: number, content?: FrameContent): void;
  refuse(reply: string, error: NsmError): void;
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
