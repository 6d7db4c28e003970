// What a supplier actor asks of its surroundings: start an Endpoint on this node, say when one has ended, take away
// what is left. One Endpoint per name. Implementations: processes of this machine; others stand behind the same port.
// Invariant: what was started outlives its supplier, and the next life of the supplier finds it again.

import type { Connection } from '../nsm/gen/connection_pb.ts';
import type { Budget } from './dataplane.ts';

export interface SuppliedEndpoint {
  /** As registered. */
  readonly name: string;
  /** For people: `process 4711`. */
  readonly what: string;
}

export interface EndedEndpoint {
  readonly name: string;
  /** For people: `exit code 1`. */
  readonly how: string;
  /** Whether it ended as an Endpoint does that is not needed any more. */
  readonly isClean: boolean;
}

export interface EndpointSupplier {
  /** The name of the Endpoint that serves such a connection. Throws INVALID_ARGUMENT (template, labels). */
  nameFor(connection: Connection): string;
  /** What runs, that of earlier lives included. */
  running(): readonly SuppliedEndpoint[];
  /**
   * Resolves once it exists, which is before it is registered. One that runs is returned as it is.
   * Errors: FAILED_PRECONDITION, UNAVAILABLE (it cannot be started); then nothing is left of it.
   */
  start(connection: Connection, budget: Budget): Promise<SuppliedEndpoint>;
  /** Ends it where it still runs, and takes away what was made for it. An unknown name is no error. */
  remove(name: string, budget: Budget): Promise<void>;
  /** Told of each that ended by itself; at once of those that did before and have not been removed. */
  watch(listener: (ended: EndedEndpoint) => void): () => void;
  /** Lets go of what runs, without ending it. */
  close(): Promise<void>;
}
