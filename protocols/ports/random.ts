// Randomness comes in through this port, so that a seed replays a whole mesh.

export interface Random {
  /** A new UUID, version 4, in its canonical text form. */
  uuid(): string;
  /** Uniform integer in [0, exclusiveMax); exclusiveMax is between 1 and 2^32. */
  integer(exclusiveMax: number): number;
}
