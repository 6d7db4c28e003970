// TLS handshakes under way. Whoever opens connections and proves nothing is known by nothing, so there is no fair share
// to give out: the oldest gives way, and an honest handshake, which takes milliseconds, comes through.

import type { Duplex } from 'node:stream';
import { NsmError } from '../../protocols/errors.ts';

export class Handshakes {
  readonly #max: number;
  readonly #onGivenUp: (error: NsmError) => void;
  readonly #open = new Set<Duplex>();
  readonly #givenUp = new WeakSet<Duplex>();

  constructor(max: number, onGivenUp: (error: NsmError) => void) {
    this.#max = max;
    this.#onGivenUp = onGivenUp;
  }

  begin(socket: Duplex): void {
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
    if (this.#open.size <= this.#max) return;
    const [oldest] = this.#open;
    this.#open.delete(oldest as Duplex);
    this.#givenUp.add(oldest as Duplex);
    oldest?.destroy();
    this.#onGivenUp(
      new NsmError('RESOURCE_EXHAUSTED', 'a handshake gave way to a later one', {
        rule: 'handshakes',
        expected: `at most ${this.#max} under way`,
        found: 'one more',
      }),
    );
  }

  /** It gave way, which has been told. */
  isGivenUp(socket: Duplex | undefined): boolean {
    return socket !== undefined && this.#givenUp.has(socket);
  }

  /** It is known who that is. */
  end(socket: Duplex | undefined): void {
    if (socket !== undefined) this.#open.delete(socket);
  }
}
