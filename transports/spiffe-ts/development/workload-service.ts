// The five methods of the Workload API for one workload, as a gRPC server that is not bound to any address: whoever
// accepted a connection and knows whose it is hands it in.
// Invariants: nothing is answered without `workload.spiffe.io: true`; a stream gets a new message when half of its
// SVIDs' life is over or a bundle changed, and each message is complete.

import type { Socket } from 'node:net';
import type { DescMessage, JsonObject, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Metadata, sendUnaryData, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { NsmError } from '../../../protocols/errors.ts';
import {
  JWTBundlesRequestSchema,
  JWTBundlesResponseSchema,
  JWTSVIDRequestSchema,
  JWTSVIDResponseSchema,
  ValidateJWTSVIDRequestSchema,
  ValidateJWTSVIDResponseSchema,
  X509BundlesRequestSchema,
  X509BundlesResponseSchema,
  X509SVIDRequestSchema,
  X509SVIDResponseSchema,
} from '../../../protocols/nsm/gen/workload_pb.ts';
import { toStatus } from '../grpc-status.ts';
import { securityHeader } from '../workload-api-client.ts';
import type { WorkloadAnswers } from './workload-answers.ts';

/** Streams that one workload may hold open. */
const streamsMax = 256;
const requestBytesMax = 65_536;

export interface WorkloadService {
  /** Serves a connection that this workload opened. */
  accept(socket: Socket): void;
  /** Sends every open stream its complete state again. */
  push(): void;
  /** Ends streams as UNAVAILABLE, which tells clients to come back; a bare reset would tell them not to. */
  close(): Promise<void>;
}

/** How long the last words to a client may take. */
const lastWordsMs = 500;

const stopped = new NsmError('UNAVAILABLE', 'the identity server stops', { rule: 'shutdown' });

function shutDown(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, lastWordsMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      server.forceShutdown();
      resolve();
    });
  });
}

export function createWorkloadService(answers: WorkloadAnswers): WorkloadService {
  const server = new Server({
    'grpc.max_receive_message_length': requestBytesMax,
    'grpc.max_concurrent_streams': streamsMax,
  });
  const streams = new Set<OpenStream>();
  const register: Register = { server, streams };
  registerStream(register, 'FetchX509SVID', X509SVIDRequestSchema, {
    output: X509SVIDResponseSchema,
    answer: () => answers.x509Svids(),
    armRotation: (again) => answers.armRotation(again),
  });
  registerStream(register, 'FetchX509Bundles', X509BundlesRequestSchema, {
    output: X509BundlesResponseSchema,
    answer: () => answers.x509Bundles(),
  });
  registerStream(register, 'FetchJWTBundles', JWTBundlesRequestSchema, {
    output: JWTBundlesResponseSchema,
    answer: () => answers.jwtBundles(),
  });
  registerUnary(register, 'FetchJWTSVID', JWTSVIDRequestSchema, {
    output: JWTSVIDResponseSchema,
    answer: ({ audience, spiffeId }) => answers.jwtSvids(audience, spiffeId),
  });
  registerUnary(register, 'ValidateJWTSVID', ValidateJWTSVIDRequestSchema, {
    output: ValidateJWTSVIDResponseSchema,
    answer: ({ audience, svid }) => {
      const { spiffeId, claims } = answers.validateJwtSvid(audience, svid);
      return { spiffeId, claims: claims as JsonObject };
    },
  });
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  return {
    accept: (socket) => injector.injectConnection(socket),
    push: () => {
      for (const stream of streams) stream.send();
    },
    close: async () => {
      for (const stream of streams) stream.refuse(stopped);
      await shutDown(server);
      injector.destroy();
    },
  };
}

interface Register {
  readonly server: Server;
  readonly streams: Set<OpenStream>;
}

interface OpenStream {
  send(): void;
  refuse(error: unknown): void;
}

interface Unary<I extends DescMessage, O extends DescMessage> {
  readonly output: O;
  readonly answer: (request: MessageShape<I>) => MessageInitShape<O>;
}

interface Streaming<O extends DescMessage> {
  readonly output: O;
  readonly answer: () => MessageInitShape<O>;
  /** Calls back when the answer should be given anew; returns how to stop. */
  readonly armRotation?: (again: () => void) => () => void;
}

const pathOf = (method: string): string => `/SpiffeWorkloadAPI/${method}`;

/** Workload Endpoint section 3: without the header a request may be a forged one. */
function checkHeader(metadata: Metadata): void {
  const values = metadata.get(securityHeader);
  if (values.length === 1 && values[0] === 'true') return;
  throw new NsmError('INVALID_ARGUMENT', 'the security header is missing', {
    rule: securityHeader,
    expected: 'metadata workload.spiffe.io: true',
    found: values.length === 0 ? 'none' : 'another value',
  });
}

function registerUnary<I extends DescMessage, O extends DescMessage>(
  { server }: Register,
  method: string,
  input: I,
  { output, answer }: Unary<I, O>,
): void {
  type Call = ServerUnaryCall<MessageShape<I>, MessageShape<O>>;
  server.register<MessageShape<I>, MessageShape<O>>(
    pathOf(method),
    ((call: Call, callback: sendUnaryData<MessageShape<O>>) => {
      try {
        checkHeader(call.metadata);
        callback(null, create(output, answer(call.request)));
      } catch (error) {
        callback(toStatus(error));
      }
    }) as never,
    (message) => Buffer.from(toBinary(output, message)),
    (bytes) => fromBinary(input, bytes),
    'unary',
  );
}

function registerStream<I extends DescMessage, O extends DescMessage>(
  { server, streams }: Register,
  method: string,
  input: I,
  streaming: Streaming<O>,
): void {
  type Call = ServerWritableStream<MessageShape<I>, MessageShape<O>>;
  server.register<MessageShape<I>, MessageShape<O>>(
    pathOf(method),
    ((call: Call) => serveStream(call, streams, streaming)) as never,
    (message) => Buffer.from(toBinary(streaming.output, message)),
    (bytes) => fromBinary(input, bytes),
    'serverStream',
  );
}

function serveStream<I extends DescMessage, O extends DescMessage>(
  call: ServerWritableStream<MessageShape<I>, MessageShape<O>>,
  streams: Set<OpenStream>,
  { output, answer, armRotation }: Streaming<O>,
): void {
  let disarm: (() => void) | undefined;
  const release = (): void => {
    disarm?.();
    streams.delete(stream);
  };
  const refuse = (error: unknown): void => {
    release();
    call.emit('error', toStatus(error));
  };
  const send = (): void => {
    disarm?.();
    try {
      call.write(create(output, answer()));
      disarm = armRotation?.(send);
    } catch (error) {
      refuse(error);
    }
  };
  const stream: OpenStream = { send, refuse };
  call.on('cancelled', release);
  try {
    checkHeader(call.metadata);
  } catch (error) {
    refuse(error);
    return;
  }
  streams.add(stream);
  send();
}
