// What one peer may take up of a listener at a time, over all of its connections, so that none takes it from the others:
// connections, calls, and memory for requests that have not come whole.
// The numbers are ours: the reference has none. They leave room for an identity that a thousand processes share.

import { NsmError } from '../../protocols/errors.ts';

export interface PeerBounds {
  readonly connectionsMax: number;
  /** Calls and streams, of any method. */
  readonly callsMax: number;
  /** Memory that requests which are not whole yet may hold. */
  readonly arrivingBytesMax: number;
  /** How long a request may take to come. */
  readonly arrivalMs: number;
}

export const peerBoundsDefault: PeerBounds = {
  connectionsMax: 1_000,
  callsMax: 5_000,
  arrivingBytesMax: 64 * 1024 * 1024,
  arrivalMs: 30_000,
};

/** Over all connections of one peer. */
export class PeerLoad {
  /** SPIFFE ID; undefined where there is no TLS and all are one. */
  readonly peer: string | undefined;
  connections = 0;
  calls = 0;
  arrivingBytes = 0;

  constructor(peer?: string) {
    this.peer = peer;
  }
}

export class PeerLoads {
  readonly #bounds: PeerBounds;
  readonly #loads = new Map<string, PeerLoad>();

  constructor(bounds: PeerBounds) {
    this.#bounds = bounds;
  }

  /** For one more connection. Errors: RESOURCE_EXHAUSTED. */
  enter(spiffeId: string): PeerLoad {
    const load = this.#loads.get(spiffeId) ?? new PeerLoad(spiffeId);
    const { connectionsMax } = this.#bounds;
    if (load.connections >= connectionsMax) {
      throw new NsmError('RESOURCE_EXHAUSTED', 'the peer has too many connections', {
        rule: 'connections-per-peer',
        expected: `at most ${connectionsMax}`,
        found: 'one more',
      });
    }
    load.connections += 1;
    this.#loads.set(spiffeId, load);
    return load;
  }

  leave(spiffeId: string, load: PeerLoad): void {
    load.connections -= 1;
    if (load.connections === 0) this.#loads.delete(spiffeId);
  }
}
