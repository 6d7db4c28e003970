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
}

interface Answerer {
  received: number;
  /** How many answers it has sent, as far as is known. */
  answered: number;
}

export class SequenceAccount {
  #sent = 0;
  #isAnswered = new Uint8Array(4_096);
  #duplicated = 0;
  #reordered = 0;
  #highest = -1;
  readonly #answerers = new Map<number, Answerer>();

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

  receive(number: number, answerer: number, answerNumber: number): void {
    if (number >= this.#sent) return;
    this.#grow(number);
    if (this.#isAnswered[number] === 1) {
      this.#duplicated += 1;
      return;
    }
    this.#isAnswered[number] = 1;
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
    return {
      sent: this.#sent,
      lostThere: lost - back,
      lostBack: back,
      duplicated: this.#duplicated,
      reordered: this.#reordered,
      longest: gaps.toSorted((a, b) => b.packets - a.packets)[0],
      last: gaps.at(-1),
    };
  }

  #gaps(): readonly Gap[] {
    const gaps: Gap[] = [];
    let first = -1;
    for (let number = 0; number <= this.#sent; number += 1) {
      const isLost = number < this.#sent && this.#isAnswered[number] !== 1;
      if (isLost && first < 0) first = number;
      if (isLost || first < 0) continue;
      gaps.push({ first, packets: number - first });
      first = -1;
    }
    return gaps;
  }

  #grow(number: number): void {
    if (number < this.#isAnswered.length) return;
    const next = new Uint8Array(Math.max(number + 1, 2 * this.#isAnswered.length));
    next.set(this.#isAnswered);
    this.#isAnswered = next;
  }
}
