// Whether the Endpoints of this node are there: each keeps a watch on its own name open at its manager (the heal element
// of the reference's registry client, the registration actor here), and that ends with its process. NSM makes nothing of it and
// lists who has died until the registration expires. Invariants: only a watch whose caller went away is evidence, never
// a lost bus or a registry that ended it; who is back within the grace was never away; wires are not touched.

import { asNsmError } from '../../../protocols/errors.ts';
import type { Clock, Timer } from '../../../protocols/ports/clock.ts';
import type { CallContext } from '../../../protocols/ports/rpc.ts';

export interface LocalPresenceSetup {
  readonly clock: Clock;
  /** How long an Endpoint may take to start again in its place; one on a bus may take longer. */
  readonly graceMs: number;
  readonly isLocal: (name: string) => boolean;
  /** It has ended without a word, and not come back. */
  readonly onGone: (name: string) => void;
}

/** A closed socket says more than silence on a bus, which this process may have slept through itself. */
const silenceWeighs = 5;

export class LocalPresence {
  #setup: LocalPresenceSetup;
  /** Watches of registered Endpoints on their own name; whoever else watches a name cannot be told apart, and only delays. */
  #watches = new Map<string, number>();
  #missed = new Map<string, Timer>();

  constructor(setup: LocalPresenceSetup) {
    this.#setup = setup;
  }

  /** To be called when an Endpoint registers or unregisters: it has just shown what it wants. */
  heardOf(name: string): void {
    this.#missed.get(name)?.cancel();
    this.#missed.delete(name);
  }

  /** Hands a watch on one name through. One that was opened before the name was there waits for it, and is not its own. */
  async *during<Value>(
    name: string,
    { signal, peer }: CallContext,
    stream: AsyncIterable<Value>,
  ): AsyncGenerator<Value, void, undefined> {
    if (!this.#setup.isLocal(name)) {
      yield* stream;
      return;
    }
    this.#watches.set(name, (this.#watches.get(name) ?? 0) + 1);
    let isOpen = true;
    const graceMs = this.#setup.graceMs * (peer.binding === 'nats' ? silenceWeighs : 1);
    const end = (goneForMs: number | undefined): void => {
      if (!isOpen) return;
      isOpen = false;
      this.#closed(name, goneForMs);
    };
    const onAbort = (): void =>
      end(asNsmError(signal.reason).code === 'CANCELLED' ? graceMs : undefined);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      yield* stream;
    } finally {
      signal.removeEventListener('abort', onAbort);
      end(undefined);
    }
  }

  close(): void {
    for (const timer of this.#missed.values()) timer.cancel();
    this.#missed.clear();
  }

  /** `graceMs` undefined: its end says nothing. */
  #closed(name: string, graceMs: number | undefined): void {
    const left = (this.#watches.get(name) ?? 1) - 1;
    if (left > 0) this.#watches.set(name, left);
    else this.#watches.delete(name);
    const { clock, isLocal, onGone } = this.#setup;
    if (left > 0 || graceMs === undefined || !isLocal(name)) return;
    this.heardOf(name);
    const timer = clock.after(graceMs, () => {
      this.#missed.delete(name);
      if (!this.#watches.has(name) && isLocal(name)) onGone(name);
    });
    this.#missed.set(name, timer);
  }
}
