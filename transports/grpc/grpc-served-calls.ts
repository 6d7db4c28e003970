// Unary calls and streams over gRPC at their callee. grpc-js reports a caller that cancelled, went away or ran out
// of time with one event, `cancelled`; the handler sees it as its signal.

import type { Readable, Writable } from 'node:stream';
import type { Message } from '@bufbuild/protobuf';
import type {
  sendUnaryData,
  Server,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
} from '@grpc/grpc-js';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type { OperationGuard } from '../../protocols/messages/operation-guard.ts';
import type { Pump } from '../../protocols/messages/pump.ts';
import { startPump } from '../../protocols/messages/pump.ts';
import { cancelledByCaller } from '../../protocols/messages/rpc-client.ts';
import type {
  CallsInFlight,
  ServedMethod,
  UnaryAnswer,
} from '../../protocols/messages/served-call.ts';
import {
  answerStream,
  answerUnary,
  checkAnswer,
  listenerStopped,
  ServedCall,
} from '../../protocols/messages/served-call.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Peer } from '../../protocols/ports/rpc.ts';
import { asBuffer, decodeMessage, encodeMessage } from './grpc-bytes.ts';
import type { Inflow } from './grpc-flow.ts';
import { flowFrom, flowInto } from './grpc-flow.ts';
import type { RefusalLog } from './refusal-log.ts';
import { fromMetadata, readOperation, toMetadata, toStatus } from './grpc-metadata.ts';

export interface GrpcServedCall {
  abort(reason: NsmError): void;
}

/** One listener. */
export interface GrpcHost {
  readonly url: string;
  readonly clock: Clock;
  readonly guard: OperationGuard;
  readonly inFlight: CallsInFlight<GrpcServedCall>;
  readonly messageBytesMax: number;
  readonly refusals: RefusalLog;
  /** Undefined for a call whose connection has just ended. */
  callerOf: (call: Pick<Unary, 'getAuthContext'>) => GrpcPeerCalls | undefined;
}

/** Who calls, over one connection, with the calls that end when trust in the caller does. */
export interface GrpcPeerCalls {
  readonly peer: Peer;
  readonly calls: { add(call: GrpcServedCall): unknown; delete(call: GrpcServedCall): unknown };
  /** Why it is served no more. */
  readonly refusal: NsmError | undefined;
}

/** Whoever calls without TLS. Nothing ends because of who it is. */
export const plaintextCaller: GrpcPeerCalls = Object.freeze({
  peer: Object.freeze({ binding: 'grpc' as const }),
  calls: { add: () => {}, delete: () => {} },
  refusal: undefined,
});

type Incoming = Message | NsmError;
type Unary = ServerUnaryCall<Incoming, Uint8Array>;
type Stream = ServerWritableStream<Incoming, Uint8Array> | ServerDuplexStream<Incoming, Uint8Array>;

export function registerMethod(server: Server, host: GrpcHost, served: ServedMethod): void {
  const path = `/${served.path}`;
  const decode = (bytes: Buffer): Incoming => decodeMessage(served.method.input, bytes);
  const register = (type: string, handle: (call: never, callback: never) => void): void => {
    server.register<Incoming, Uint8Array>(path, handle as never, asBuffer, decode, type);
  };
  switch (served.method.methodKind) {
    case 'unary':
      register('unary', (call: Unary, callback: sendUnaryData<Uint8Array>) =>
        serveUnary(host, served, call, callback),
      );
      break;
    case 'server_streaming':
      register('serverStream', (call: Stream) => serveStream(host, served, call));
      break;
    case 'bidi_streaming':
      register('bidi', (call: Stream) => serveStream(host, served, call));
      break;
    case 'client_streaming':
      // NSM has none.
      break;
  }
}

function serveUnary(
  host: GrpcHost,
  served: ServedMethod,
  call: Unary,
  callback: sendUnaryData<Uint8Array>,
): void {
  let ended = false;
  const end = (): boolean => {
    if (ended) return false;
    ended = true;
    host.inFlight.end(inFlight);
    caller?.calls.delete(inFlight);
    return true;
  };
  const refuse = (error: unknown): void => {
    if (end()) callback(toStatus(asNsmError(error)));
  };
  const inFlight: GrpcServedCall = {
    abort: (reason) => {
      context?.abort(reason);
      refuse(reason);
    },
  };
  let context: ServedCall | undefined;
  let caller: GrpcPeerCalls | undefined;
  try {
    caller = admittedCaller(host, call, served.method.name);
    context = contextOf(host, call, caller.peer);
    const { request } = call;
    if (request instanceof NsmError) throw request;
    const running = context;
    host.inFlight.begin(inFlight);
    caller.calls.add(inFlight);
    call.on('cancelled', () => {
      running.abort(cancelledByCaller(served.method));
      end();
    });
    // The caller may have gone while the request was being read.
    if (call.cancelled) {
      end();
      return;
    }
    const answer = ({ message, headers }: UnaryAnswer): void => {
      const bytes = encodeMessage(served.method.output, message, host.messageBytesMax);
      if (!end()) return;
      call.sendMetadata(toMetadata(headers));
      callback(null, bytes);
    };
    answerUnary(served, request, running, host.guard).then(answer).catch(refuse);
  } catch (error) {
    refuse(error);
  }
}

function serveStream(host: GrpcHost, served: ServedMethod, call: Stream): void {
  try {
    const caller = admittedCaller(host, call, served.method.name);
    const context = contextOf(host, call, caller.peer);
    if ('request' in call && call.request instanceof NsmError) throw call.request;
    new ServedStream({ host, served, call, context, caller }).run();
  } catch (error) {
    call.emit('error', toStatus(asNsmError(error)));
  }
}

/** Errors: UNAVAILABLE (the connection ends), RESOURCE_EXHAUSTED. */
export function admittedCaller(
  host: GrpcHost,
  call: Pick<Unary, 'getAuthContext'>,
  operation: string,
): GrpcPeerCalls {
  const caller = host.callerOf(call);
  if (caller === undefined) throw listenerStopped(host.url);
  if (caller.refusal !== undefined) throw caller.refusal;
  const error = host.inFlight.refusal();
  if (error === undefined) return caller;
  const { spiffeId: peer } = caller.peer;
  host.refusals.write({ error, operation, ...(peer !== undefined && { peer }) });
  throw error;
}

function contextOf(host: GrpcHost, call: Unary | Stream, peer: Peer): ServedCall {
  const deadline = call.getDeadline();
  const leftMs = (typeof deadline === 'number' ? deadline : deadline.getTime()) - Date.now();
  return new ServedCall({
    deadlineMs: host.clock.nowMs() + leftMs,
    headers: fromMetadata(call.metadata),
    peer,
    operation: readOperation(call.metadata),
  });
}

interface ServedStreamInit {
  readonly host: GrpcHost;
  readonly served: ServedMethod;
  readonly call: Stream;
  readonly context: ServedCall;
  readonly caller: GrpcPeerCalls;
}

class ServedStream implements GrpcServedCall {
  readonly #init: ServedStreamInit;
  #requests: Inflow<Message> | undefined;
  #pump: Pump | undefined;
  #headersSent = false;
  #ended = false;

  constructor(init: ServedStreamInit) {
    this.#init = init;
  }

  run(): void {
    const { host, served, call, context, caller } = this.#init;
    host.inFlight.begin(this, context.deadlineMs === Infinity);
    caller.calls.add(this);
    call.on('cancelled', () => this.#stop(cancelledByCaller(served.method)));
    if (!('request' in call)) {
      this.#requests = flowFrom<Message>(call as unknown as Readable, {
        onReturn: () => {},
        onBadMessage: (error) => this.abort(error),
      });
    }
    const input =
      this.#requests?.queue ?? (call as ServerWritableStream<Incoming, Uint8Array>).request;
    const out = flowInto(call as unknown as Writable);
    this.#pump = startPump(() => answerStream(served, input, context), {
      room: () => out.room(),
      write: (message) => {
        checkAnswer(served, message);
        const bytes = encodeMessage(served.method.output, message, host.messageBytesMax);
        this.#sendHeaders();
        out.write(bytes);
      },
      end: (error) => this.#finish(error),
    });
  }

  abort(reason: NsmError): void {
    this.#finish(reason);
  }

  #sendHeaders(): void {
    if (this.#headersSent) return;
    this.#headersSent = true;
    this.#init.call.sendMetadata(toMetadata(this.#init.context.takeHeaders()));
  }

  #finish(error: NsmError | undefined): void {
    if (this.#ended) return;
    const { call, served } = this.#init;
    if (error === undefined) {
      this.#sendHeaders();
      call.end();
    } else call.emit('error', toStatus(error));
    this.#stop(error ?? cancelledByCaller(served.method));
  }

  #stop(reason: NsmError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#init.host.inFlight.end(this);
    this.#init.caller.calls.delete(this);
    this.#init.context.abort(reason);
    this.#pump?.stop();
    this.#requests?.queue.abort(reason);
  }
}
