// Whether the data plane of one established connection, and the service behind it, still answer: the port of what a
// client probes with. NSM concept: data-plane liveness (the reference's heal option of the same name).
// Invariants: a watch says `dead` only on evidence from the other end; what hinders the probe on this side (an
// interface that the workload has set down, a firewall of its own) is `unknown`; nothing throws after `watch`.

import type { Connection } from '../nsm/gen/connection_pb.ts';
import type { AddressPair } from '../nsm/probed-wire.ts';

export type Verdict =
  | { readonly kind: 'alive' }
  /** Nothing can be said: not yet, not from here, or there is nothing to probe. */
  | { readonly kind: 'unknown' }
  | {
      readonly kind: 'dead';
      /** Packets get no answer, or they do and the service behind the wire does not. */
      readonly what: 'wire' | 'service';
      /** For people: what was asked and stayed unanswered. */
      readonly found: string;
    };

export const aliveVerdict: Verdict = { kind: 'alive' };
export const unknownVerdict: Verdict = { kind: 'unknown' };

export interface LivenessWatch {
  /** As of now; `unknown` in the beginning. */
  readonly verdict: Verdict;
  /**
   * Judges anew, faster than in its ordinary course where it can: resolves with the first answer to something asked
   * after the call, or once that has stayed out. Bounded by the check's own times; resolves at once after `stop`.
   */
  confirm(): Promise<Verdict>;
  stop(): void;
}

export interface Liveness {
  /** `onVerdict` is told of every change of kind, never within the call, and not after `stop`. */
  watch(connection: Connection, onVerdict: (verdict: Verdict) => void): LivenessWatch;
}

/** A way to send echo requests to one address and to hear the replies. Nothing here waits or throws. */
export interface EchoLine {
  /** False where it could not be sent for a reason on this side. */
  send(sequence: number): boolean;
  /** Sequences of the replies that have come since the last call. */
  receive(): Iterable<number>;
  close(): void;
}

/** Undefined where it cannot be opened now. `interfaceName` may be empty: any that leads there. */
export type OpenEchoLine = (pair: AddressPair, interfaceName: string) => EchoLine | undefined;

/** `hindered`: for a reason on this side, or the attempt was given up. */
export type Contact = 'connected' | 'refused' | 'unanswered' | 'hindered';

/** Tries once to reach a service behind a wire. Never rejects; ends within `timeoutMs`. */
export type ContactService = (
  address: string,
  options: { readonly port: number; readonly timeoutMs: number; readonly signal: AbortSignal },
) => Promise<Contact>;
