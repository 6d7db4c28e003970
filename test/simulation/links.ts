// The links between the machines of a simulated mesh, and what is wrong with them: cut, or losing, doubling and
// delaying messages. A machine's own processes reach each other whatever happens outside it.

import type { Links } from '../../transports/memory/simulated-process.ts';
import type { SeededRandom } from '../sandbox/seeded-random.ts';

export interface Disturbance {
  readonly loss: number;
  readonly doubled: number;
  /** Share of the messages that come later, by up to `lateMs`: so they overtake each other. */
  readonly late: number;
  readonly lateMs: number;
}

export class SimulatedLinks implements Links {
  readonly #random: SeededRandom;
  readonly #nowMs: () => number;
  readonly #cuts = new Map<string, { count: number; sinceMs: number }>();
  readonly #disturbed = new Map<string, Disturbance>();

  constructor(random: SeededRandom, nowMs: () => number) {
    this.#random = random;
    this.#nowMs = nowMs;
  }

  carry(from: string, to: string): readonly number[] {
    const random = this.#random;
    if (from === to) return [random.between(0.02, 0.2)];
    const way = `${from}>${to}`;
    if (this.#cuts.has(way)) return [];
    const disturbance = this.#disturbed.get(way);
    if (disturbance === undefined) return [random.between(0.2, 1.5)];
    if (random.chance(disturbance.loss)) return [];
    const one = (): number =>
      random.between(0.2, 1.5) +
      (random.chance(disturbance.late) ? random.between(0, disturbance.lateMs) : 0);
    return random.chance(disturbance.doubled) ? [one(), one()] : [one()];
  }

  cutSinceMs(from: string, to: string): number | undefined {
    return this.#cuts.get(`${from}>${to}`)?.sinceMs;
  }

  cut(from: string, to: string): void {
    const known = this.#cuts.get(`${from}>${to}`);
    if (known === undefined) {
      this.#cuts.set(`${from}>${to}`, { count: 1, sinceMs: this.#nowMs() });
    } else known.count += 1;
  }

  join(from: string, to: string): void {
    const known = this.#cuts.get(`${from}>${to}`);
    if (known === undefined) return;
    known.count -= 1;
    if (known.count === 0) this.#cuts.delete(`${from}>${to}`);
  }

  disturb(from: string, to: string, disturbance: Disturbance | undefined): void {
    if (disturbance === undefined) this.#disturbed.delete(`${from}>${to}`);
    else this.#disturbed.set(`${from}>${to}`, disturbance);
  }
}
