// What the VPP data plane needs of VPP: its binary API, and its statistics.
// Invariants: every call ends by its deadline; calls of one client are sent in the order in which they were made; after
// a loss the client connects again by itself and says so, since a VPP that restarted has nothing of what was made.

import type { NsmError } from '../errors.ts';
import type {
  DetailsFields,
  DumpFields,
  DumpName,
  EventFields,
  EventName,
  ReplyFields,
  RequestFields,
  RequestName,
} from '../vpp/messages/known-messages.ts';
import type { StatisticValue } from '../vpp/statistics-segment.ts';
import type { VppFields } from '../vpp/values.ts';
import type { Budget } from './dataplane.ts';

export type VppEvent =
  /**
   * Connected, for the first time or again. `pid` is VPP's own (as it sees itself): another one than before means that
   * nothing is left of what was made. `messageCount` is the size of its table of messages.
   */
  | { readonly kind: 'connected'; readonly pid: number; readonly messageCount: number }
  | { readonly kind: 'lost'; readonly error: NsmError };

export type VppSubscriptionEvent<Name extends string> =
  /** From now on events come; what happened before did so unseen, so look now. After every connect. */
  | { readonly kind: 'subscribed' }
  | { readonly kind: 'event'; readonly name: Name; readonly fields: EventFields<Name> }
  /** None comes until the next `subscribed`; also where VPP refuses the subscription. */
  | { readonly kind: 'lost'; readonly error: NsmError };

export interface VppSubscription<Name extends string, Want extends string> {
  readonly event: Name;
  /** `want_interface_events`. */
  readonly request: Want;
  /** Its fields to begin and to end. */
  readonly start: RequestFields<Want>;
  readonly stop: RequestFields<Want>;
}

/** The answer to a `..._get`: what came, in order, and the reply that ended it. */
export interface VppStream {
  readonly details: readonly VppFields[];
  readonly reply: VppFields;
}

/**
 * Errors of every call: what VPP refused, by VPP's name for it in `rule` (`TUNNEL_EXIST (-75)`); UNIMPLEMENTED where VPP
 * has no such message, FAILED_PRECONDITION where it has another version of it; INVALID_ARGUMENT for fields that do not
 * fit; RESOURCE_EXHAUSTED past a bound; DEADLINE_EXCEEDED, CANCELLED and UNAVAILABLE say in `found` whether it was sent.
 */
export interface Vpp {
  /** A request that changes something: sent at most once. */
  request<Name extends RequestName>(
    name: Name,
    fields: RequestFields<Name>,
    budget: Budget,
  ): Promise<ReplyFields<Name>>;
  /** A request that only reads: after a loss it waits for VPP and is sent again. */
  read<Name extends RequestName>(
    name: Name,
    fields: RequestFields<Name>,
    budget: Budget,
  ): Promise<ReplyFields<Name>>;
  /** A `..._dump`, which reads: all of its details. */
  dump<Name extends DumpName>(
    name: Name,
    fields: DumpFields<Name>,
    budget: Budget,
  ): Promise<readonly DetailsFields<Name>[]>;
  /** A `..._get`, which reads; asked again with VPP's cursor for as long as VPP has more. */
  stream(name: string, fields: VppFields, budget: Budget): Promise<VppStream>;
  /** Returns how to stop; no event comes after that. RESOURCE_EXHAUSTED (thrown): too many subscriptions. */
  subscribe<Name extends EventName, Want extends RequestName>(
    subscription: VppSubscription<Name, Want>,
    listener: (event: VppSubscriptionEvent<Name>) => void,
  ): () => void;
  /** For a capability probe: which of these requests VPP does not serve as they are known here, and why. */
  unusable(names: readonly string[], budget: Budget): Promise<ReadonlyMap<string, NsmError>>;
  watch(listener: (event: VppEvent) => void): () => void;
  close(): Promise<void>;
}

/** Counters that VPP shares in memory: reading them does not disturb it. */
export interface VppStatistics {
  /** Those of `names` that there are. Errors: UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED, DATA_LOSS (no such format). */
  read(names: readonly string[], budget: Budget): Promise<ReadonlyMap<string, StatisticValue>>;
  /** Every name there is: `/if/rx`, `/sys/heartbeat`. */
  names(budget: Budget): Promise<readonly string[]>;
  /** Lets go of the memory of a VPP that has ended; the next `read` asks for that of the one which runs. */
  reopen(): void;
  close(): void;
}
