// Joining the two wires of a connection that goes through an Endpoint: what a passthrough Endpoint needs of its own
// network namespace. Invariant: what is joined stays joined when the process ends, so that its next life goes on.

/** Both ends of one connection, by the names of their interfaces in the Endpoint's namespace. */
export interface ChainLink {
  readonly connectionId: string;
  /** Towards the client. It may appear later than the other: the forwarder makes it once it has the answer. */
  readonly upstream: string;
  /** Towards the next Endpoint. */
  readonly downstream: string;
  /** IP is routed, so that the namespace's own firewall sees it; anything else is passed on frame by frame. */
  readonly payload: string;
}

export interface Chain {
  /** From now on whatever enters one end leaves by the other, as soon as and as long as both are there. */
  join(link: ChainLink): void;
  leave(connectionId: string): void;
  close(): Promise<void>;
}
