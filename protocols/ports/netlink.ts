// What the kernel data plane needs of the kernel: run a program of netlink requests, and hear about links.
// A program runs as one piece, in order, off the main loop; at its first failure what it did is undone, newest
// first. Requests may use numbers that the program itself found out (see NetlinkReference in the codec).
// Invariants: no namespace descriptor and no socket in a namespace other than the node's survives its program.

import type { ErrorCode } from '../errors.ts';
import type { EncodedMessage, NetlinkMessage } from '../netlink/codec.ts';
import type { Budget } from './dataplane.ts';

export interface NetlinkRequest {
  readonly message: EncodedMessage;
  /** Operation and object, for people: `add address 10.0.0.1/32 to nsm-1`. */
  readonly what: string;
  /** Error numbers that count as done; then nothing is stored and nothing undone. */
  readonly tolerate?: readonly number[];
  /** Keeps the 32-bit integer at `offset` of the first answer's payload under `register`. */
  readonly store?: { readonly register: string; readonly offset: number };
  /**
   * The first answer's attribute (after `headerLengthBytes`) must hold this integer of 8 or 32 bits, else ENODEV.
   * With `withinMs` the request is repeated until it does; then ETIMEDOUT.
   */
  readonly expect?: {
    readonly headerLengthBytes: number;
    readonly attribute: number;
    readonly value: number;
    readonly withinMs?: number;
  };
  /** Run, in the same namespace, when a later request fails. Its own failure is reported, not retried. */
  readonly undo?: readonly EncodedMessage[];
}

/** Requests that go to one socket. */
export interface NetlinkStep {
  /** `file://` or `inode://` URL; absent: the node's own namespace. */
  readonly namespace?: string;
  /** `netfilter` requests of a step are one transaction between its begin and end marks. */
  readonly protocol: 'route' | 'netfilter' | 'generic';
  readonly requests: readonly NetlinkRequest[];
}

export interface NetlinkAnswer {
  /** 0, or the tolerated error number. */
  readonly errno: number;
  /** What a get or dump returned. */
  readonly messages: readonly NetlinkMessage[];
}

/** Why a program stopped. */
export interface NetlinkFailure {
  readonly step: number;
  /** Index within the step; -1 where its namespace could not be entered. */
  readonly request: number;
  readonly code: ErrorCode;
  /** 0 where no system call failed. */
  readonly errno: number;
  readonly what: string;
  /** Name of the error number and the kernel's own words. */
  readonly found: string;
  readonly remedy?: string;
  /** What could not be undone, in the same form. */
  readonly undoFailures: readonly string[];
}

/** Answers by step and request. */
export type NetlinkOutcome =
  | { readonly ok: true; readonly answers: readonly (readonly NetlinkAnswer[])[] }
  | { readonly ok: false; readonly failure: NetlinkFailure };

/** Which links and which nf_tables table of the node's namespace are watched. */
export interface WatchScope {
  /** A link is watched from when it is first seen with a name that begins so, whatever it is called later. */
  readonly namePrefix: string;
  readonly filterTable: string;
}

/**
 * What happened in the node's namespace, as far as it is watched. `running` and `notRunning` are transitions. `changed`: a link that had been
 * finished was set down, renamed, tagged anew or taken off its bridge, or its filters or forwarding entries were changed
 * by somebody else. `namespaceGone`: the namespace that the link's other side lives in ends, and the link with it.
 * `filterChanged`: somebody else changed the table. `neighborFailed`: any neighbour of the namespace does not answer.
 * `lost`: events were missed.
 */
export type LinkEvent =
  | ChangeOfLink
  | ({ readonly kind: 'neighborFailed' } & FailedNeighbor)
  | { readonly kind: 'filterChanged' }
  | { readonly kind: 'lost' };

export interface ChangeOfLink {
  readonly kind: 'running' | 'notRunning' | 'gone' | 'changed' | 'namespaceGone';
  readonly index: number;
}

/** Index of the device that it was asked for through, and its address. */
export interface FailedNeighbor {
  readonly index: number;
  readonly ip: string;
}

export interface Netlink {
  /**
   * Rejects with DEADLINE_EXCEEDED or CANCELLED (not started, or its outcome unknown), RESOURCE_EXHAUSTED
   * (queue full), UNAVAILABLE (closed). A program that the kernel refused resolves with its failure.
   */
  execute(program: readonly NetlinkStep[], budget: Budget): Promise<NetlinkOutcome>;
  /** Tells what others do to the node's own side of wires. Returns how to stop. */
  watchLinks(scope: WatchScope, listener: (event: LinkEvent) => void): () => void;
  close(): Promise<void>;
}
