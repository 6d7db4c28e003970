// Which numbers the ports of a switch have or ask for, whoever's they are, and which are free.

import { NsmError } from '../../protocols/errors.ts';

/** OFPP_MAX of OpenFlow 1.0 less one: the switch takes 1 to this. */
const numberMax = 65_279;

export class PortNumbers {
  readonly #ofInterface = new Map<string, readonly number[]>();
  /** How many interfaces have or ask for each. */
  readonly #uses = new Map<number, number>();
  #last = 0;

  /** None: the interface is gone. */
  set(interfaceId: string, numbers: readonly number[]): void {
    for (const number of this.#ofInterface.get(interfaceId) ?? []) this.#count(number, -1);
    for (const number of numbers) this.#count(number, 1);
    if (numbers.length === 0) this.#ofInterface.delete(interfaceId);
    else this.#ofInterface.set(interfaceId, numbers);
  }

  clear(): void {
    this.#ofInterface.clear();
    this.#uses.clear();
  }

  /** Numbers that no interface has or asks for. Errors: RESOURCE_EXHAUSTED. */
  free(count: number): number[] {
    const free: number[] = [];
    for (let tries = 0; free.length < count && tries < numberMax; tries++) {
      // Not the lowest at once: flows of what has just gone may still be there.
      this.#last = (this.#last % numberMax) + 1;
      if (!this.#uses.has(this.#last)) free.push(this.#last);
    }
    if (free.length === count) return free;
    throw new NsmError('RESOURCE_EXHAUSTED', 'the switch has no port number left', {
      rule: 'ports',
      expected: `at most ${numberMax}`,
      found: `${this.#uses.size}`,
    });
  }

  #count(number: number, change: number): void {
    const uses = (this.#uses.get(number) ?? 0) + change;
    if (uses > 0) this.#uses.set(number, uses);
    else this.#uses.delete(number);
  }
}
