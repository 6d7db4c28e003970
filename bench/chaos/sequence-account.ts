// What became of the packets of one measured window: each has a number, and each answer a number of the one who
// answers. From both follows which direction lost it. Pure, so that the arithmetic of the chaos table has tests.
// Invariant: a packet is counted once, whatever arrives twice or late.

export interface Gap {
  readonly packets: number;
  /** Number of the first packet that was lost. */
  readonly first: number;
}

export interface Losses {
  readonly sent: number;
  /** On the way to the Endpoint, or with an Endpoint that is no more. */
  readonly lostThere: number;
  readonly lostBack: number;
  readonly duplicated: number;
  readonly reordered: number;
  /** Longest run of packets without an answer. */
  readonly longest: Gap | undefined;
  readonly last: Gap | undefined;
  /**
   * When the first answer came after the last packet was lost, in ms since the first one was due; undefined where none was
   * lost, or none came. What was kept on the way while nothing flowed arrives late, and is not lost.
   */
  readonly resumedMs: number | undefined;
}

interface Answerer {
  received: number;
  /** How many answers it has sent, as far as is known. */
  answered: number;
}

export class SequenceAccount {
  #sent = 0;
  readonly #intervalMs: number;
  /** When each packet was answered; NaN where it was not. */
  #answeredAtMs = new Float64Array(4_096).fill(NaN);
  #duplicated = 0;
  #reordered = 0;
  #highest = -1;
  readonly #answerers = new Map<number, Answerer>();

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** The number of the next packet. */
  send(): number {
    return this.#sent++;
  }

  get sent(): number {
    return this.#sent;
  }

  /** Whether nothing is under way any more. */
  get isComplete(): boolean {
    let received = 0;
    for (const each of this.#answerers.values()) received += each.received;
    return received >= this.#sent;
  }

  /** `atMs`: since the first one was due. */
  receive(number: number, answerer: number, answerNumber: number, atMs: number): void {
    if (number >= this.#sent) return;
    this.#grow(number);
    if (this.#isAnswered(number)) {
      this.#duplicated += 1;
      return;
    }
    this.#answeredAtMs[number] = atMs;
    if (number < this.#highest) this.#reordered += 1;
    this.#highest = Math.max(this.#highest, number);
    const known = this.#answerers.get(answerer) ?? { received: 0, answered: 0 };
    known.received += 1;
    known.answered = Math.max(known.answered, answerNumber + 1);
    this.#answerers.set(answerer, known);
  }

  /** What an answerer that lives says it has sent. */
  tellAnswered(answerer: number, answered: number): void {
    const known = this.#answerers.get(answerer) ?? { received: 0, answered: 0 };
    known.answered = Math.max(known.answered, answered);
    this.#answerers.set(answerer, known);
  }

  losses(): Losses {
    let lostBack = 0;
    for (const { received, answered } of this.#answerers.values()) lostBack += answered - received;
    const gaps = this.#gaps();
    const lost = gaps.reduce((sum, { packets }) => sum + packets, 0);
    // An answer may be counted by its sender twice where the question came twice.
    const back = Math.min(lost, Math.max(0, lostBack));
    const last = gaps.at(-1);
    return {
      sent: this.#sent,
      lostThere: lost - back,
      lostBack: back,
      duplicated: this.#duplicated,
      reordered: this.#reordered,
      longest: gaps.toSorted((a, b) => b.packets - a.packets)[0],
      last,
      resumedMs: last && this.#firstAnswerSince((last.first + last.packets - 1) * this.#intervalMs),
    };
  }

  #isAnswered(number: number): boolean {
    return !Number.isNaN(this.#answeredAtMs[number] ?? NaN);
  }

  #firstAnswerSince(ms: number): number | undefined {
    let first: number | undefined;
    for (const atMs of this.#answeredAtMs)
      if (atMs >= ms && !(atMs >= (first ?? Infinity))) first = atMs;
    return first;
  }

  #gaps(): readonly Gap[] {
    const gaps: Gap[] = [];
    let first = -1;
    for (let number = 0; number <= this.#sent; number += 1) {
      const isLost = number < this.#sent && !this.#isAnswered(number);
      if (isLost && first < 0) first = number;
      if (isLost || first < 0) continue;
      gaps.push({ first, packets: number - first });
      first = -1;
    }
    return gaps;
  }

  #grow(number: number): void {
    const { length } = this.#answeredAtMs;
    if (number < length) return;
    const next = new Float64Array(Math.max(number + 1, 2 * length)).fill(NaN);
    next.set(this.#answeredAtMs);
    this.#answeredAtMs = next;
  }
}
