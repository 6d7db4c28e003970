// Unary calls and streams over gRPC at their caller. The deadline travels as grpc-timeout; cancelling resets the
// HTTP/2 stream, which the callee sees as its signal being aborted.

import type { DescMethod, Message } from '@bufbuild/protobuf';
import type {
  CallOptions,
  ClientDuplexStream,
  ClientReadableStream,
  ServiceError,
} from '@grpc/grpc-js';
import type { Readable, Writable } from 'node:stream';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import { MessageQueue } from '../../protocols/messages/message-queue.ts';
import type { Pump } from '../../protocols/messages/pump.ts';
import { startPump } from '../../protocols/messages/pump.ts';
import type { StreamRequests } from '../../protocols/messages/rpc-client.ts';
import {
  cancelledByCaller,
  deadlineExceeded,
  methodPath,
} from '../../protocols/messages/rpc-client.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { StreamOptions, UnaryOptions } from '../../protocols/ports/rpc.ts';
import { asBuffer, decodeMessage, encodeMessage } from './grpc-bytes.ts';
import { flowFrom, flowInto } from './grpc-flow.ts';
import { listenForAbort } from './listen-for-abort.ts';
import type { Line, LineCall } from './grpc-line.ts';
import { fromMetadata, fromStatus } from './grpc-metadata.ts';

/** What a call needs of its dialer. */
export interface GrpcCaller {
  readonly url: string;
  readonly clock: Clock;
  readonly messageBytesMax: number;
  /** Takes a line for one call. Errors: UNAVAILABLE (closed), RESOURCE_EXHAUSTED, UNAUTHENTICATED (no identity). */
  acquire(): Line;
  release(line: Line, call: LineCall): void;
}

export async function callGrpcUnary(
  caller: GrpcCaller,
  method: DescMethod,
  request: Message,
  options: UnaryOptions,
): Promise<Message> {
  const bytes = encodeMessage(method.input, request, caller.messageBytesMax);
  const line = caller.acquire();
  const metadata = line.metadataOf(options.headers, options.operation);
  let own: NsmError | undefined;
  let cancel = (): void => {};
  const onLine: LineCall = {
    isStream: false,
    ...(options.descriptors === undefined ? {} : { descriptors: options.descriptors }),
    end: (reason) => {
      own ??= reason;
      cancel();
    },
  };
  line.begin(onLine);
  try {
    const answer = await new Promise<Message>((resolve, reject) => {
      const onAbort = (): void => {
        call.cancel();
        line.cancelled();
      };
      const call = line.client.makeUnaryRequest<Uint8Array, Message | NsmError>(
        `/${methodPath(method)}`,
        asBuffer,
        (answer) => decodeMessage(method.output, answer),
        bytes,
        metadata,
        deadlineIn(options.timeoutMs),
        (error, answer) => {
          options.signal?.removeEventListener('abort', onAbort);
          if (error !== null) reject(own ?? explain(error, method, options, line));
          else if (answer instanceof NsmError) reject(badAnswer(answer));
          else resolve(answer as Message);
        },
      );
      cancel = onAbort;
      if (options.signal !== undefined) listenForAbort(options.signal, onAbort);
      const { onHeaders } = options;
      if (onHeaders !== undefined) call.on('metadata', (sent) => onHeaders(fromMetadata(sent)));
    });
    options.onPeer?.(line.peer);
    return answer;
  } finally {
    caller.release(line, onLine);
  }
}

export function startGrpcStream(
  caller: GrpcCaller,
  method: DescMethod,
  requests: StreamRequests,
  options: StreamOptions,
): AsyncIterator<Message> {
  try {
    return runStream(caller, method, requests, options);
  } catch (error) {
    const failed = new MessageQueue<Message>();
    failed.end(asNsmError(error));
    return failed;
  }
}

function runStream(
  caller: GrpcCaller,
  method: DescMethod,
  requests: StreamRequests,
  options: StreamOptions,
): AsyncIterator<Message> {
  const { signal, timeoutMs } = options;
  const first =
    requests.kind === 'one'
      ? encodeMessage(method.input, requests.message, caller.messageBytesMax)
      : undefined;
  const line = caller.acquire();
  const call = openCall(line, method, first, options);
  let pump: Pump | undefined;
  let own: NsmError | undefined;
  let ended = false;
  const giveUp = (reason: NsmError): void => {
    own ??= reason;
    if (ended) return;
    call.cancel();
    line.cancelled();
  };
  // One that ends by itself, as a list does, may end on the connection that it began on.
  const onLine: LineCall = { isStream: timeoutMs === undefined, end: giveUp };
  line.begin(onLine);
  const onAbort = (): void => {
    giveUp(cancelledByCaller(method));
    answers.queue.abort(cancelledByCaller(method));
  };
  const answers = flowFrom<Message>(call as unknown as Readable, {
    onReturn: () => giveUp(cancelledByCaller(method)),
    onBadMessage: (error) => giveUp(badAnswer(error)),
  });
  const finish = (): void => {
    if (ended) return;
    ended = true;
    signal?.removeEventListener('abort', onAbort);
    pump?.stop();
    caller.release(line, onLine);
  };
  call.on('error', (error: ServiceError) => {
    answers.end(own ?? explain(error, method, timeoutMs === undefined ? {} : { timeoutMs }, line));
  });
  call.on('status', finish);
  call.on('metadata', () => options.onPeer?.(line.peer));
  if (signal !== undefined) listenForAbort(signal, onAbort);
  if (requests.kind === 'many') {
    const out = flowInto(call as unknown as Writable);
    pump = startPump(() => requests.messages, {
      room: () => out.room(),
      write: (message) => out.write(encodeMessage(method.input, message, caller.messageBytesMax)),
      end: (error) => {
        if (error === undefined) (call as unknown as Writable).end();
        else giveUp(error);
      },
    });
  }
  return answers.queue;
}

type Answers = ClientReadableStream<Message | NsmError>;

function openCall(
  line: Line,
  method: DescMethod,
  first: Uint8Array | undefined,
  options: StreamOptions,
): Answers | ClientDuplexStream<Uint8Array, Message | NsmError> {
  const path = `/${methodPath(method)}`;
  const { client } = line;
  const metadata = line.metadataOf(options.headers);
  const callOptions = options.timeoutMs === undefined ? {} : deadlineIn(options.timeoutMs);
  const decode = (bytes: Buffer): Message | NsmError => decodeMessage(method.output, bytes);
  return first === undefined
    ? client.makeBidiStreamRequest<Uint8Array, Message | NsmError>(
        path,
        asBuffer,
        decode,
        metadata,
        callOptions,
      )
    : client.makeServerStreamRequest<Uint8Array, Message | NsmError>(
        path,
        asBuffer,
        decode,
        first,
        metadata,
        callOptions,
      );
}

/** grpc-js 1.14 keeps a deadline as a 32-bit number of milliseconds, and fires at once where it does not fit. */
const timeoutMsMax = 2 ** 31 - 1;

/** grpc-js wants a time of the wall clock and turns it back into a duration at once. */
function deadlineIn(timeoutMs: number): CallOptions {
  return { deadline: Date.now() + Math.min(timeoutMs, timeoutMsMax) };
}

function explain(
  error: ServiceError,
  method: DescMethod,
  options: { timeoutMs?: number; signal?: AbortSignal },
  line: Line,
): NsmError {
  if (options.signal?.aborted === true) return cancelledByCaller(method);
  const told = fromStatus(error);
  if (told.code === 'DEADLINE_EXCEEDED' && told.details.rule === 'grpc-status') {
    return deadlineExceeded(method, options.timeoutMs ?? 0);
  }
  if (told.code === 'UNAVAILABLE' && line.refusal !== undefined) {
    const { details } = line.refusal;
    return new NsmError('UNAVAILABLE', 'the peer is not trusted', {
      ...details,
      cause: line.refusal,
    });
  }
  return told;
}

function badAnswer(error: NsmError): NsmError {
  return new NsmError('INTERNAL', "the peer's answer cannot be decoded", error.details);
}
