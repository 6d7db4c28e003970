// One service definition, three bindings. The protobuf-es service descriptors (protocols/nsm/gen) are the
// definition; `memory:`, `nats:` and gRPC (`unix:`, `tcp:`) implement the interfaces below, and the URL's
// scheme chooses between them. The code behind a handler or a client cannot tell which one carried the call.
// Invariants: every unary call has a deadline; every call can be cancelled; a message is never mutated.

import type { DescMethod, DescService, MessageShape } from '@bufbuild/protobuf';
import type { Descriptor, PeerDescriptors } from './descriptors.ts';

/** Metadata of a call: gRPC metadata or NATS headers of the same names. Keys in lower case. */
export type Headers = Readonly<Record<string, string>>;

/**
 * What makes one operation recognisable when the bus delivers it late or twice.
 * A callee keeps, per `key`, the highest (incarnation, epoch) that it has seen and refuses an older one with
 * ABORTED; it answers a repeated `id` from the recorded answer. Go peers carry none of this.
 */
export interface Operation {
  readonly id: string;
  /** What the operation is about, as a rule the connection id. */
  readonly key: string;
  readonly epoch: number;
  /** Grows with each start of the sending process. */
  readonly incarnation: number;
}

/** Who is at the other end of a call. */
export interface Peer {
  readonly binding: 'memory' | 'nats' | 'grpc';
  /** SPIFFE ID proven by the transport, if any. Over `memory:` it is the process's own. */
  readonly spiffeId?: string;
  /** DER of the certificate that proved it: whoever holds its key signs the peer's path tokens. */
  readonly leaf?: Uint8Array;
  /** Wall-clock ms at which trust in it ends: its certificates, as far as they are known. */
  readonly trustedUntilMs?: number;
  /**
   * DER of the certificate with which this process has proven itself to it. After a renewal it may be an older one, and the
   * peer knows no other key until it connects anew.
   */
  readonly ownLeaf?: Uint8Array;
  /** Where the connection can carry descriptors: over unix sockets with TLS. */
  readonly descriptors?: PeerDescriptors;
}

/** What a caller says about a unary call. */
export interface UnaryOptions {
  /** Time to live of the call in ms; it travels with the call. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly headers?: Headers;
  readonly operation?: Operation;
  /** Copies of these are sent ahead of the call where its connection can carry them; they stay the caller's. */
  readonly descriptors?: readonly Descriptor[];
  /**
   * Of an Endpoint that is registered under a path of this process: where the connection can carry it, its socket goes
   * along as a descriptor, for a peer that has not that path.
   */
  readonly passesSocket?: boolean;
  /** Receives the response's headers before the call returns. */
  readonly onHeaders?: (headers: Headers) => void;
  /** Receives who answered before the call returns. */
  readonly onPeer?: (peer: Peer) => void;
}

/**
 * Headers that every call of a process carries, made anew for each. They replace those of the same names that a call
 * brings along: what the hop before proved itself with must not go on to the next.
 */
export interface CallHeaders {
  readonly names: readonly string[];
  /**
   * `peer`: whom the call goes to, undefined where the binding cannot know. Never throws: a callee refuses what it
   * misses.
   */
  make(peer: TokenPeer | undefined): Headers;
}

/** What counts of a peer for a token that is meant for it. */
export type TokenPeer = Pick<Peer, 'spiffeId' | 'trustedUntilMs' | 'ownLeaf'>;

/** What a caller says about a stream. A watch has no deadline of its own: it lives until its signal is aborted. */
export interface StreamOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly headers?: Headers;
  /** Receives who answers before the first message, where the binding knows: over gRPC. */
  readonly onPeer?: (peer: Peer) => void;
}

/** What a handler knows about the call that it serves. */
export interface CallContext {
  /** Aborted when the caller cancels, goes away, or the time is over. */
  readonly signal: AbortSignal;
  /** Monotonic time (the process's Clock) at which the caller stops waiting; Infinity for a watch. */
  readonly deadlineMs: number;
  readonly headers: Headers;
  readonly peer: Peer;
  readonly operation?: Operation;
  /** Sets a response header; only before the first response message. */
  setHeader(name: string, value: string): void;
}

type Input<M extends DescMethod> = MessageShape<M['input']>;
type Output<M extends DescMethod> = MessageShape<M['output']>;

type ClientMethod<M extends DescMethod> = M['methodKind'] extends 'unary'
  ? (request: Input<M>, options: UnaryOptions) => Promise<Output<M>>
  : M['methodKind'] extends 'server_streaming'
    ? (request: Input<M>, options?: StreamOptions) => AsyncIterable<Output<M>>
    : M['methodKind'] extends 'bidi_streaming'
      ? (requests: AsyncIterable<Input<M>>, options?: StreamOptions) => AsyncIterable<Output<M>>
      : never;

type HandlerMethod<M extends DescMethod> = M['methodKind'] extends 'unary'
  ? (request: Input<M>, context: CallContext) => Promise<Output<M>>
  : M['methodKind'] extends 'server_streaming'
    ? (request: Input<M>, context: CallContext) => AsyncIterable<Output<M>>
    : M['methodKind'] extends 'bidi_streaming'
      ? (requests: AsyncIterable<Input<M>>, context: CallContext) => AsyncIterable<Output<M>>
      : never;

/** A service as its caller sees it. Failures are NsmErrors. */
export type ServiceClient<S extends DescService> = {
  readonly [K in keyof S['method']]: ClientMethod<S['method'][K]>;
};

/** A service as its implementer sees it. Throw NsmError to refuse. */
export type ServiceHandler<S extends DescService> = {
  readonly [K in keyof S['method']]: HandlerMethod<S['method'][K]>;
};

/** A descriptor with the handler that serves it, the types having been checked by `serve`. */
export interface ServedService {
  readonly descriptor: DescService;
  readonly handler: Readonly<Record<string, unknown>>;
}

export function serve<S extends DescService>(
  descriptor: S,
  handler: ServiceHandler<S>,
): ServedService {
  return { descriptor, handler: handler as Readonly<Record<string, unknown>> };
}

/** A way to one URL. Cheap to obtain and shared: closing is the dialer's business. */
export interface Channel {
  readonly url: string;
  client<S extends DescService>(service: S): ServiceClient<S>;
}

export interface Dialer {
  /** Never blocks: connecting happens with the first call, inside its deadline. Unknown scheme: INVALID_ARGUMENT. */
  dial(url: string): Channel;
  close(): Promise<void>;
}

/** A bound listener. */
export interface Listening {
  /** The URL under which peers reach it; a port given as 0 is filled in. */
  readonly url: string;
  /** Stops accepting, ends watches at once, lets other calls end for at most `graceMs`, then cancels them. */
  close(graceMs: number): Promise<void>;
}

export interface Listener {
  listen(url: string, services: readonly ServedService[]): Promise<Listening>;
}
