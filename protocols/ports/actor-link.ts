// The way of actor messages between processes. An envelope names the actor it is for; what it carries are bytes
// that only the two actors' codec understands. NSM concept: none; it joins vwire's own processes.
// Invariants: envelopes between two nodes keep their order; nothing is retried; a lost envelope shows only as
// silence, which the sender's deadline or the watch's heartbeat turns into an answer.

import type { ErrorCode, ErrorDetails } from '../errors.ts';

/** Where an actor lives. `node` is the actor system's name; empty parts never occur. */
export interface ActorAddress {
  readonly node: string;
  /** Names from the root down, unencoded (they may hold `@`, `/` and so on). */
  readonly path: readonly string[];
  /** Tells this life of the actor from an earlier or later one of the same path; see `anyIncarnation`. */
  readonly incarnation: string;
}

/** Stands for whichever life of the actor there is. */
export const anyIncarnation = '*';

/** What an error keeps when it crosses processes. */
export interface RemoteError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

export type EndReason = 'stopped' | 'crashed';

interface Routed {
  /** Name of the node that the envelope is for. */
  readonly to: string;
  /** Name of the node that sent it. */
  readonly from: string;
}

/** One message between two actor systems. Ids are drawn by the asking or watching side and mean nothing elsewhere. */
export type ActorEnvelope = Routed &
  (
    | { readonly kind: 'tell'; readonly target: ActorAddress; readonly body: Uint8Array }
    | {
        readonly kind: 'ask';
        readonly target: ActorAddress;
        readonly id: string;
        /** Time left when it was sent; a callee drops what is over. */
        readonly timeoutMs: number;
        readonly body: Uint8Array;
      }
    | { readonly kind: 'reply'; readonly id: string; readonly body: Uint8Array }
    | { readonly kind: 'failure'; readonly id: string; readonly error: RemoteError }
    | { readonly kind: 'cancel'; readonly id: string }
    | { readonly kind: 'watch'; readonly target: ActorAddress; readonly id: string }
    | { readonly kind: 'unwatch'; readonly id: string }
    | { readonly kind: 'terminated'; readonly id: string; readonly reason: EndReason }
    /** Sent again and again while watches on actors of that node are open. */
    | { readonly kind: 'ping' }
    /** How many of the pinging node's watches the answering one knows; if it is not all, they are sent again. */
    | { readonly kind: 'pong'; readonly watchCount: number }
  );

export interface ActorLinkEvents {
  onEnvelope(envelope: ActorEnvelope): void;
  /**
   * The bus says that nobody takes messages for that node at this moment; `envelope` was not delivered. Its body may
   * have been dropped.
   */
  onUndeliverable(envelope: ActorEnvelope): void;
  /** The own way to the bus was lost or is back. Its loss is never evidence against a peer. */
  onConnected(isConnected: boolean): void;
}

export interface ActorLink {
  /** Never waits. Throws NsmError where the envelope can never be sent (too large, bad node name, closed link). */
  send(envelope: ActorEnvelope): void;
  /** Takes envelopes for the node of that name until closed; call once per link. Resolves when peers reach it. */
  open(node: string, events: ActorLinkEvents): Promise<void>;
  close(): Promise<void>;
}
