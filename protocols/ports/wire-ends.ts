// The ends of wires that something other than the kernel joins: interfaces in workloads' namespaces, each with a link
// in the node's namespace for a switch to take. What a switch's data plane builds on, so that every data plane gives
// workloads the same interfaces.
// Invariants: as those of Dataplane; a wire's ends and what joins them change as one: both, or neither.

import type {
  Budget,
  DataplaneCapabilities,
  DataplaneEvent,
  ObservedWire,
  Wire,
  WireStatistics,
} from './dataplane.ts';

/** The node's side of an end. */
export interface NodeLink {
  readonly name: string;
  readonly index: number;
  /** Bytes. */
  readonly mtu: number;
}

/** By side; an end that is no interface of a workload has none. */
export interface NodeLinks {
  readonly client?: NodeLink;
  readonly endpoint?: NodeLink;
}

/** What `join` has done; exactly one of the two is called afterwards. */
export interface Joined {
  /** An end from before is still there, and what it has sent still passes. */
  readonly isReplacing: boolean;
  /** The ends are whole and nothing is on its way through what they replace: that may go, and its links go next. */
  settle(): Promise<void>;
  /** The ends could not be completed: everything as it was before `join`. */
  undo(): Promise<void>;
}

export interface Joining {
  /** The switch reads frames in user space: what it gets must have its checksums, and be no longer than the MTU. */
  readonly needsChecksums: boolean;
  /**
   * Packets are routed, not switched: nobody answers for a neighbour, so workloads ask for none. Absent: what joins them
   * never routes.
   */
  readonly isRouted?: boolean;
  /** From its end on, packets take the way between these links. A failure must leave everything as it was. */
  join(links: NodeLinks): Promise<Joined>;
}

export interface ObservedEnds extends ObservedWire {
  readonly links: NodeLinks;
}

/** What is missing of the ends alone. */
export interface InspectedEnds {
  readonly missing: readonly string[];
  readonly links: NodeLinks;
}

/** `changed`: somebody changed something at a link of the wire, and its ends lack nothing; what joins them may. */
export type EndsEvent = DataplaneEvent | { readonly kind: 'changed'; readonly wireId: string };

export interface WireEnds {
  probe(budget: Budget): Promise<DataplaneCapabilities>;
  /** As `Dataplane.ensure`; `join` is called once the links are up, before workloads can use new interfaces. */
  ensure(wire: Wire, budget: Budget, joining: Joining): Promise<void>;
  /** `leave` is called first; whatever becomes of it the links are removed. */
  remove(
    ids: readonly string[],
    budget: Budget,
    options: {
      readonly leave: () => Promise<void>;
      readonly namespaces?: ReadonlyMap<string, string> | undefined;
    },
  ): Promise<void>;
  list(budget: Budget): Promise<readonly ObservedEnds[]>;
  inspect(id: string, budget: Budget): Promise<InspectedEnds>;
  statistics(ids: readonly string[], budget: Budget): Promise<ReadonlyMap<string, WireStatistics>>;
  watch(listener: (event: EndsEvent) => void): () => void;
  close(): Promise<void>;
}
