// The calls of the SPIFFE Workload API over gRPC, as they are on the wire. What the answers mean and whether they are
// good is decided elsewhere; here are the metadata, the deadlines and the bounds.
// Invariant: every call carries `workload.spiffe.io: true`, has a deadline or a signal, and is cancelled by `close`.

import { setMaxListeners } from 'node:events';
import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { CallOptions } from '@grpc/grpc-js';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { NsmError } from '../../protocols/errors.ts';
import type {
  JWTBundlesResponse,
  JWTSVIDResponse,
  ValidateJWTSVIDResponse,
  X509BundlesResponse,
  X509SVIDResponse,
} from '../../protocols/nsm/gen/workload_pb.ts';
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
} from '../../protocols/nsm/gen/workload_pb.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import { grpcTarget, parseEndpoint } from './endpoint-address.ts';
import { fromStatus } from './grpc-status.ts';

/** Specification of the Workload Endpoint, section 3. */
export const securityHeader = 'workload.spiffe.io';

/** Bytes of one message. The default of gRPC, which every implementation of the API stays below. */
export const messageBytesMax = 4 * 1024 * 1024;

export interface StreamHandlers<Message> {
  readonly onMessage: (message: Message) => void;
  /** Called once, with the error or, where the server ended the stream cleanly, undefined. */
  readonly onEnd: (error: NsmError | undefined) => void;
}

/** Ends the stream; `onEnd` is not called any more. */
export type CancelStream = () => void;

type OpenStream<Message> = (handlers: StreamHandlers<Message>) => CancelStream;

export interface WorkloadApiClient {
  readonly endpoint: string;
  readonly openX509Svids: OpenStream<X509SVIDResponse>;
  readonly openX509Bundles: OpenStream<X509BundlesResponse>;
  readonly openJwtBundles: OpenStream<JWTBundlesResponse>;
  /** Errors: those of the server by their status, DEADLINE_EXCEEDED, CANCELLED, UNAVAILABLE. */
  fetchJwtSvids(
    request: { readonly audience: readonly string[]; readonly spiffeId?: string },
    budget: Budget,
  ): Promise<JWTSVIDResponse>;
  validateJwtSvid(
    request: { readonly audience: string; readonly svid: string },
    budget: Budget,
  ): Promise<ValidateJWTSVIDResponse>;
  close(): void;
}

/** Errors: INVALID_ARGUMENT (the URL). Connects with the first call. */
export function createWorkloadApiClient(endpoint: string): WorkloadApiClient {
  const client = new Client(grpcTarget(parseEndpoint(endpoint)), credentials.createInsecure(), {
    'grpc.max_receive_message_length': messageBytesMax,
    'grpc.max_send_message_length': messageBytesMax,
    // A broken stream is opened again by the watch, which has a back-off of its own.
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
    'grpc.enable_http_proxy': 0,
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.use_local_subchannel_pool': 1,
  });
  const stream = <I extends DescMessage, O extends DescMessage>(
    method: string,
    input: I,
    output: O,
  ): OpenStream<MessageShape<O>> => {
    return (handlers) => openStream({ client, endpoint, method, input, output }, handlers);
  };
  return {
    endpoint,
    openX509Svids: stream('FetchX509SVID', X509SVIDRequestSchema, X509SVIDResponseSchema),
    openX509Bundles: stream(
      'FetchX509Bundles',
      X509BundlesRequestSchema,
      X509BundlesResponseSchema,
    ),
    openJwtBundles: stream('FetchJWTBundles', JWTBundlesRequestSchema, JWTBundlesResponseSchema),
    fetchJwtSvids: ({ audience, spiffeId = '' }, budget) =>
      callUnary(
        {
          client,
          endpoint,
          method: 'FetchJWTSVID',
          input: JWTSVIDRequestSchema,
          output: JWTSVIDResponseSchema,
        },
        { audience: [...audience], spiffeId } as MessageInitShape<typeof JWTSVIDRequestSchema>,
        budget,
      ),
    validateJwtSvid: (request, budget) =>
      callUnary(
        {
          client,
          endpoint,
          method: 'ValidateJWTSVID',
          input: ValidateJWTSVIDRequestSchema,
          output: ValidateJWTSVIDResponseSchema,
        },
        request as MessageInitShape<typeof ValidateJWTSVIDRequestSchema>,
        budget,
      ),
    close: () => client.close(),
  };
}

interface Method<I extends DescMessage, O extends DescMessage> {
  readonly client: Client;
  readonly endpoint: string;
  readonly method: string;
  readonly input: I;
  readonly output: O;
}

function requestMetadata(): Metadata {
  const metadata = new Metadata();
  metadata.set(securityHeader, 'true');
  return metadata;
}

const pathOf = (method: string): string => `/SpiffeWorkloadAPI/${method}`;

function openStream<I extends DescMessage, O extends DescMessage>(
  { client, endpoint, method, input, output }: Method<I, O>,
  handlers: StreamHandlers<MessageShape<O>>,
): CancelStream {
  let isOver = false;
  const call = client.makeServerStreamRequest<MessageShape<I>, MessageShape<O>>(
    pathOf(method),
    (message) => Buffer.from(toBinary(input, message)),
    (bytes) => fromBinary(output, bytes),
    create(input),
    requestMetadata(),
  );
  const end = (error: NsmError | undefined): void => {
    if (isOver) return;
    isOver = true;
    handlers.onEnd(error);
  };
  call.on('data', (message: MessageShape<O>) => {
    if (!isOver) handlers.onMessage(message);
  });
  // The status follows and says the same; without a listener Node would throw.
  call.on('error', () => {});
  call.on('status', (status) => end(status.code === 0 ? undefined : fromStatus(status, endpoint)));
  return () => {
    isOver = true;
    call.cancel();
  };
}

function callUnary<I extends DescMessage, O extends DescMessage>(
  { client, endpoint, method, input, output }: Method<I, O>,
  request: MessageInitShape<I>,
  { timeoutMs, signal }: Budget,
): Promise<MessageShape<O>> {
  const options: CallOptions = { deadline: Date.now() + timeoutMs };
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(new NsmError('CANCELLED', 'the call was given up', { rule: 'workload-api' }));
      return;
    }
    const call = client.makeUnaryRequest<MessageShape<I>, MessageShape<O>>(
      pathOf(method),
      (message) => Buffer.from(toBinary(input, message)),
      (bytes) => fromBinary(output, bytes),
      create(input, request),
      requestMetadata(),
      options,
      (error, answer) => {
        signal?.removeEventListener('abort', cancel);
        if (answer !== undefined) resolve(answer);
        else reject(fromStatus(error ?? { code: 2, details: 'no answer' }, endpoint));
      },
    );
    const cancel = (): void => call.cancel();
    if (signal === undefined) return;
    setMaxListeners(0, signal);
    signal.addEventListener('abort', cancel);
  });
}
