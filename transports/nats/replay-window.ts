// Which messages of a row were taken, so that none is taken twice: the highest count, and a bit for each of those before
// it that may still come. Words of bits are used in turn, and cleared as the highest count passes into them, as in RFC 6479.
// Invariant: some 300 bytes, however many messages came and whatever their counts are.

/** Messages that may overtake another on its way while that one is still taken. */
export const windowSize = 1024;
const wordBits = 32;
/** One more than the window has, since it seldom ends where a word does. */
const words = windowSize / wordBits + 1;

const wordOf = (count: number): number => Math.floor(count / wordBits);

export class ReplayWindow {
  #highest = 0;
  readonly #taken = new Uint32Array(words);

  /** Also for one that is too old to know of. */
  isTaken(count: number): boolean {
    if (count <= this.#highest - windowSize) return true;
    if (count > this.#highest) return false;
    const word = this.#taken[wordOf(count) % words] ?? 0;
    return ((word >>> (count % wordBits)) & 1) === 1;
  }

  /** Of a message whose seal was found to be good: nobody else may move the window. */
  take(count: number): void {
    const word = wordOf(count);
    if (count > this.#highest) {
      const from = wordOf(this.#highest);
      const passed = Math.min(word - from, words);
      for (let step = 1; step <= passed; step += 1) this.#taken[(word - passed + step) % words] = 0;
      this.#highest = count;
    }
    this.#taken[word % words] = (this.#taken[word % words] ?? 0) | (1 << (count % wordBits));
  }
}
