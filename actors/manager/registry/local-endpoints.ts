// Endpoints and forwarders registered through this manager, with their real URLs.
// NSM concept: localbypass. Invariants: an entry ends by itself when nobody refreshes it; one timer serves all.

import type { NetworkServiceEndpoint } from '../../../protocols/nsm/gen/registry_pb.ts';
import { timestampToEpochMs } from '../../../protocols/nsm/expiry.ts';
import type { Clock, Timer, WallClock } from '../../../protocols/ports/clock.ts';
import { EndpointIndex } from '../../../protocols/registry/endpoint-index.ts';
import { ExpiryHeap } from '../../../protocols/registry/expiry-heap.ts';

export interface LocalEndpointsSetup {
  readonly clock: Clock;
  readonly wallClock: WallClock;
  /** Called after every change, of any cause. */
  readonly onChanged: (
    before: NetworkServiceEndpoint | undefined,
    after: NetworkServiceEndpoint | undefined,
  ) => void;
  /** Called after an entry has ended by itself. */
  readonly onExpired: (endpoint: NetworkServiceEndpoint) => void;
}

/** Entries ended in one go. */
const batchMax = 500;

export class LocalEndpoints {
  readonly index = new EndpointIndex();
  #setup: LocalEndpointsSetup;
  #expiry = new ExpiryHeap();
  #timer: { readonly timer: Timer; readonly atMs: number } | undefined;

  constructor(setup: LocalEndpointsSetup) {
    this.#setup = setup;
  }

  set(endpoint: NetworkServiceEndpoint): void {
    const { clock, wallClock } = this.#setup;
    const before = this.index.get(endpoint.name);
    this.index.set(endpoint);
    const expires = endpoint.expirationTime;
    if (expires === undefined) this.#expiry.delete(endpoint.name);
    else {
      const remainingMs = timestampToEpochMs(expires) - wallClock.epochMs();
      this.#expiry.set(endpoint.name, clock.nowMs() + remainingMs);
    }
    this.#arm();
    this.#setup.onChanged(before, endpoint);
  }

  delete(name: string): NetworkServiceEndpoint | undefined {
    this.#expiry.delete(name);
    const before = this.index.delete(name);
    if (before !== undefined) this.#setup.onChanged(before, undefined);
    return before;
  }

  close(): void {
    this.#timer?.timer.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    const { clock } = this.#setup;
    const atMs = this.#expiry.nextMs();
    if (atMs === Number.POSITIVE_INFINITY || (this.#timer?.atMs ?? Infinity) <= atMs) return;
    this.#timer?.timer.cancel();
    const timer = clock.after(Math.max(0, atMs - clock.nowMs()), () => {
      this.#timer = undefined;
      for (const name of this.#expiry.takeDue(clock.nowMs(), batchMax)) {
        const expired = this.delete(name);
        if (expired !== undefined) this.#setup.onExpired(expired);
      }
      this.#arm();
    });
    this.#timer = { timer, atMs };
  }
}
