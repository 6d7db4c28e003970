// Makes the client of a service out of a binding's three ways to call, so that the bindings share what a caller
// sees: one function per method of the descriptor, options checked before anything is sent.

import type { DescMethod, DescService, Message } from '@bufbuild/protobuf';
import { NsmError } from '../errors.ts';
import type {
  Channel,
  Headers,
  Peer,
  ServiceClient,
  StreamOptions,
  UnaryOptions,
} from '../ports/rpc.ts';
import { checkHeaders } from './headers.ts';

/** What a binding offers for one URL. A stream's call begins with `[Symbol.asyncIterator]()`. */
export interface Invoker {
  unary(method: DescMethod, request: Message, options: UnaryOptions): Promise<Message>;
  stream(
    method: DescMethod,
    requests: StreamRequests,
    options: StreamOptions,
  ): AsyncIterator<Message>;
}

/** One request of a server stream, or the requests of a bidirectional one. */
export type StreamRequests =
  | { readonly kind: 'one'; readonly message: Message }
  | { readonly kind: 'many'; readonly messages: AsyncIterable<Message> };

export function createChannel(url: string, invoker: Invoker): Channel {
  const clients = new Map<DescService, ServiceClient<DescService>>();
  return {
    url,
    client: <S extends DescService>(service: S): ServiceClient<S> => {
      let client = clients.get(service);
      if (client === undefined) {
        client = createClient(service, invoker);
        clients.set(service, client);
      }
      return client as ServiceClient<S>;
    },
  };
}

function createClient(service: DescService, invoker: Invoker): ServiceClient<DescService> {
  const methods: Record<string, unknown> = {};
  for (const method of service.methods) methods[method.localName] = clientMethod(method, invoker);
  return methods as ServiceClient<DescService>;
}

function clientMethod(method: DescMethod, invoker: Invoker): unknown {
  switch (method.methodKind) {
    case 'unary':
      return (request: Message, options: UnaryOptions): Promise<Message> => {
        const refusal = refuseUnary(method, options);
        if (refusal !== undefined) return Promise.reject(refusal);
        return options.onHeaders === undefined && options.onPeer === undefined
          ? invoker.unary(method, request, options)
          : unaryWithNews(method, request, options, invoker);
      };
    case 'server_streaming':
      return (message: Message, options: StreamOptions = {}): AsyncIterable<Message> =>
        streamOf(method, { kind: 'one', message }, options, invoker);
    case 'bidi_streaming':
      return (
        messages: AsyncIterable<Message>,
        options: StreamOptions = {},
      ): AsyncIterable<Message> => streamOf(method, { kind: 'many', messages }, options, invoker);
    case 'client_streaming':
      // NSM has none; the port's types offer no way to call one.
      return undefined;
  }
}

/** The caller's own functions run in the caller's promise: what it throws must not reach a socket's callback. */
async function unaryWithNews(
  method: DescMethod,
  request: Message,
  options: UnaryOptions,
  invoker: Invoker,
): Promise<Message> {
  let received: Headers = {};
  let answering: Peer | undefined;
  const onHeaders = (headers: Headers): void => {
    received = headers;
  };
  const onPeer = (peer: Peer): void => {
    answering = peer;
  };
  const answer = await invoker.unary(method, request, { ...options, onHeaders, onPeer });
  options.onHeaders?.(received);
  if (answering !== undefined) options.onPeer?.(answering);
  return answer;
}

function streamOf(
  method: DescMethod,
  requests: StreamRequests,
  options: StreamOptions,
  invoker: Invoker,
): AsyncIterable<Message> {
  return {
    [Symbol.asyncIterator]: () => {
      const refusal = refuseStart(method, options);
      return refusal === undefined
        ? invoker.stream(method, requests, options)
        : { next: () => Promise.reject(refusal) };
    },
  };
}

function refuseUnary(method: DescMethod, options: UnaryOptions): NsmError | undefined {
  if (typeof options?.timeoutMs !== 'number' || !Number.isFinite(options.timeoutMs)) {
    return new NsmError('INVALID_ARGUMENT', 'a unary call needs a deadline', {
      rule: 'timeout',
      expected: 'timeoutMs as a number of milliseconds',
      found: String(options?.timeoutMs),
    });
  }
  return refuseStart(method, options);
}

function refuseStart(
  method: DescMethod,
  options: { timeoutMs?: number; signal?: AbortSignal; headers?: Headers },
): NsmError | undefined {
  if (options.signal?.aborted === true) return cancelledByCaller(method);
  if (options.timeoutMs !== undefined && options.timeoutMs <= 0) {
    return deadlineExceeded(method, options.timeoutMs);
  }
  try {
    if (options.headers !== undefined) checkHeaders(options.headers);
    return undefined;
  } catch (error) {
    return error as NsmError;
  }
}

/** The name of a method for people and as a key: `networkservice.NetworkService/Request`. */
export function methodPath(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

export function cancelledByCaller(method: DescMethod): NsmError {
  return new NsmError('CANCELLED', `the caller gave up ${methodPath(method)}`, { rule: 'cancel' });
}

export function deadlineExceeded(method: DescMethod, timeoutMs: number): NsmError {
  return new NsmError('DEADLINE_EXCEEDED', `no answer from ${methodPath(method)} in time`, {
    rule: 'deadline',
    expected: `an answer within ${Math.round(timeoutMs)} ms`,
  });
}
