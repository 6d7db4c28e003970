// What a simulated run did, line by line: its hash tells whether two runs of a seed were the same, and its last lines
// show what led to a failure.

import { hash } from '../sandbox/seeded-random.ts';

/** Lines kept for the report of a failure. */
const tailMax = 60;

export class Trace {
  readonly #nowMs: () => number;
  readonly #onLine: ((line: string) => void) | undefined;
  readonly #tail: string[] = [];
  #high = 0x811c9dc5;
  #low = 0x1234567;
  lines = 0;

  constructor(nowMs: () => number, onLine?: (line: string) => void) {
    this.#nowMs = nowMs;
    this.#onLine = onLine;
  }

  add(what: string): void {
    const line = `${this.#nowMs().toFixed(3)} ${what}`;
    this.lines += 1;
    this.#high = hash(line, this.#high);
    this.#low = hash(line, this.#low ^ 0x5bd1e995);
    this.#onLine?.(line);
    this.#tail.push(line);
    if (this.#tail.length > 2 * tailMax) this.#tail.splice(0, tailMax);
  }

  get hash(): string {
    const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
    return hex(this.#high) + hex(this.#low);
  }

  get tail(): readonly string[] {
    return this.#tail.slice(-tailMax);
  }
}
