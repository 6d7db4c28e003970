// Whether anybody is connected to the Endpoint (the reference's onidle element): after a time without a connection it
// says so, once. An Endpoint that ends takes nobody new, so that a Request which crosses its end is refused at once and its
// client goes elsewhere.
// Invariants: a Request under way counts as a connection; a refresh is never refused here; after the end there is no
// timer.

import { NsmError } from '../../protocols/errors.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Hop, HopRequest, HopResult } from '../connection/hop.ts';

export interface AttendedSetup {
  readonly name: string;
  readonly clock: Clock;
  /** Ids of the connections that an earlier life had. */
  readonly connected: readonly string[];
  readonly idle?: {
    readonly timeoutMs: number;
    /** Nobody has been connected for that time, and nobody new is let in any more. */
    readonly onIdle: () => void;
  };
}

export interface AttendedHop extends Hop {
  /** From now on nobody new is let in; says why. */
  end(why: string): void;
}

export function attendedHop(hop: Hop, setup: AttendedSetup): AttendedHop {
  return new Attended(hop, setup);
}

class Attended implements AttendedHop {
  readonly #hop: Hop;
  readonly #setup: AttendedSetup;
  readonly #connected: Set<string>;
  #requests = 0;
  #timer: Timer | undefined;
  #ended: string | undefined;

  constructor(hop: Hop, setup: AttendedSetup) {
    this.#hop = hop;
    this.#setup = setup;
    this.#connected = new Set(setup.connected);
    this.#watch();
  }

  async request(request: HopRequest): Promise<HopResult> {
    const { id } = request.connection;
    if (this.#ended !== undefined && !this.#connected.has(id)) throw this.#refusal(this.#ended);
    this.#requests += 1;
    this.#timer?.cancel();
    try {
      const result = await this.#hop.request(request);
      this.#connected.add(id);
      return result;
    } finally {
      this.#requests -= 1;
      this.#watch();
    }
  }

  async close(...[connection, memory, call]: Parameters<Hop['close']>): Promise<void> {
    try {
      await this.#hop.close(connection, memory, call);
    } finally {
      this.#connected.delete(connection.id);
      this.#watch();
    }
  }

  end(why: string): void {
    this.#ended ??= why;
    this.#timer?.cancel();
  }

  #watch(): void {
    const { idle, clock } = this.#setup;
    this.#timer?.cancel();
    const isIdle = this.#connected.size === 0 && this.#requests === 0;
    if (idle === undefined || !isIdle || this.#ended !== undefined) return;
    this.#timer = clock.after(idle.timeoutMs, () => {
      this.end(`nobody was connected for ${idle.timeoutMs} ms`);
      idle.onIdle();
    });
  }

  #refusal(why: string): NsmError {
    return new NsmError('UNAVAILABLE', 'the Endpoint is ending and takes nobody new', {
      hop: this.#setup.name,
      rule: 'endpoint-ending',
      found: why,
      remedy: 'request again: another Endpoint is chosen, or one is started anew',
    });
  }
}
