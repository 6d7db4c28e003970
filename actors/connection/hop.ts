// What a role (manager, forwarder, endpoint) does with a connection. The connection actor decides when, one
// operation at a time per connection; the hop does it. A hop that throws has undone what that call made.

import type { Connection, Mechanism } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Headers, Operation, Peer } from '../../protocols/ports/rpc.ts';

/** The time and the metadata that one operation may use. */
export interface Call {
  /** On the process's monotonic clock. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  /** Aborted when the process ends: for what must not be given up because the caller does. */
  readonly ending?: AbortSignal;
  readonly headers: Headers;
  /** Who called; absent where this process started the operation itself. */
  readonly peer?: Peer;
  readonly operation?: Operation;
}

/** A Request that has stepped into this hop's view of the path. */
export interface EnteredRequest {
  readonly connection: Connection;
  readonly preferences: readonly Mechanism[];
  /** When this hop closes the connection unless it is refreshed, on the monotonic clock. */
  readonly closeAtMs: number;
  readonly call: Call;
  /** As in `HopRequest`. */
  readonly replaces?: ReplacedHop | undefined;
}

/** What a role keeps per connection beside the connection itself. */
export interface HopMemory {
  /** URL of the next hop; absent at the last one. */
  readonly nextUrl?: string;
  /** Name under which the next hop was chosen: forwarder or Endpoint. */
  readonly nextName?: string;
  /** The mechanism agreed with the next hop, where it is not the caller's. */
  readonly onwardMechanism?: Mechanism;
  /** In whose namespaces interfaces were made. Absent where this hop makes none, or cannot tell. */
  readonly namespaces?: NamespaceIdentities;
  /** While a reselect is under way: whom the next life has to leave, should this one be killed. */
  readonly leaving?: LeftHop;
}

/** As `Namespaces.identityOf`, of the workload at each end of a wire. */
export interface NamespaceIdentities {
  readonly client?: string;
  readonly endpoint?: string;
}

/** A hop that may hold a connection which leads past it. */
export interface LeftHop {
  readonly url: string;
  /** To be closed there. */
  readonly connection: Connection;
}

/** A hop that stood in the place of this one. It may hold what it made, and may be gone. */
export interface ReplacedHop {
  readonly name: string;
  /** Of the connection there. */
  readonly id: string;
}

export interface HopRequest {
  /** In this hop's own view of the path, tokens updated. */
  readonly connection: Connection;
  readonly preferences: readonly Mechanism[];
  /** What an earlier call returned; undefined on the first request. */
  readonly previous: { readonly connection: Connection; readonly memory: HopMemory } | undefined;
  /** Whose place in the path this hop takes, in a first Request: name and connection id of the hop before. */
  readonly replaces?: ReplacedHop;
  /** The client asks for another Endpoint: choose anew, and leave the old next hop once the new path is ready. */
  readonly reselect: boolean;
  readonly call: Call;
  /** Records the intent before a next hop is asked and before the data plane is touched, so that a crash leaves nothing unexplained. */
  recordIntent(memory: HopMemory): Promise<void>;
}

export interface HopResult {
  /** In this hop's own view of the path, with the mechanism that the caller agreed on. */
  readonly connection: Connection;
  readonly memory: HopMemory;
}

/** `details.rule` of a failed Close whose own part is still there: tried again until it is not. */
export type LocalPartRule = 'local-part';

export interface Hop {
  request(request: HopRequest): Promise<HopResult>;
  /**
   * Best effort in every part: goes on after a failure and throws at the end, with that rule where what
   * this hop made itself could not be taken away, whatever became of the next hop. May be called again then.
   */
  close(connection: Connection, memory: HopMemory, call: Call): Promise<void>;
  /** Ends what a reselect of the last life has left behind. Absent where a hop has no choice of next hops. */
  resume?(left: LeftHop): void;
  /**
   * Puts back what somebody else has taken away of this hop's own part, and says what that was: nothing where all of it
   * is there. Absent where a hop has no such part.
   */
  repair?(connection: Connection, memory: HopMemory, call: Call): Promise<readonly string[]>;
}

/** Somebody who may become the next hop. */
export interface Candidate {
  readonly name: string;
  readonly url: string;
  /** Time for it while others are left, and a few times as much as the last one. Absent: half of what is left, or all. */
  readonly hangMsMax?: number;
}

/** What has been sent on, or is to be. */
export interface Sent {
  readonly connection: Connection;
  readonly preferences: readonly Mechanism[];
}

/** Calling next hops; made by `createNextHop`. */
export interface NextHop {
  /** Sends the Request on. The answer comes back in this hop's view of the path. */
  request(url: string, sent: Sent, call: Call): Promise<Connection>;
  close(url: string, connection: Connection, call: Call): Promise<void>;
  /**
   * The first candidate that succeeds. One that fails is skipped; one that hangs may use half of the time that is
   * left unless it is the last, and those behind the same URL come after all others then. Throws one error that names
   * every candidate with its reason.
   */
  tryInOrder<Result>(
    candidates: readonly Candidate[],
    call: Call,
    attempt: (candidate: Candidate, call: Call) => Promise<Result>,
  ): Promise<Result>;
  /**
   * Closes the connection at a next hop that is not used any more, in the background and on this hop's own time. That
   * hop may be the very reason and is told again until it has heard; its own expiry does the same in the end.
   * Resolves when the first attempt is over or at the deadline.
   */
  leave(url: string, connection: Connection, deadlineMs: number): Promise<void>;
  /** After a reselect: leaves the next hop that is no longer used. */
  leaveReplaced(previous: HopRequest['previous'], next: HopMemory): void;
  /** This process ends: no hop that was left is told again. */
  stopLeaving(): void;
}
