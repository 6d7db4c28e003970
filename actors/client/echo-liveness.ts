// Liveness by echoes: for each watched connection one line per address pair, driven by a judge; all pairs must answer.
// One timer serves all watches of a process. NSM concept: data-plane liveness. Invariants: after `stop` the
// lines are closed and nobody is told.

import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { probedWire } from '../../protocols/nsm/probed-wire.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import {
  aliveVerdict,
  type Liveness,
  type LivenessWatch,
  unknownVerdict,
  type Verdict,
} from '../../protocols/ports/liveness.ts';
import { type EchoLivenessSetup, PairLine } from './pair-line.ts';

export function createEchoLiveness(setup: EchoLivenessSetup): Liveness {
  const prober = new Prober(setup);
  return {
    watch: (connection, onVerdict) => new EchoWatch(setup, prober, { connection, onVerdict }),
  };
}

/** The timer of all watches. */
class Prober {
  readonly #clock: Clock;
  readonly #watches = new Set<EchoWatch>();
  #timer: Timer | undefined;
  #dueMs = Infinity;

  constructor({ clock }: EchoLivenessSetup) {
    this.#clock = clock;
  }

  add(watch: EchoWatch): void {
    this.#watches.add(watch);
    this.wakeBy(watch.dueMs);
  }

  remove(watch: EchoWatch): void {
    this.#watches.delete(watch);
    if (this.#watches.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#dueMs = Infinity;
  }

  wakeBy(dueMs: number): void {
    if (dueMs >= this.#dueMs) return;
    this.#timer?.cancel();
    this.#dueMs = dueMs;
    this.#timer = this.#clock.after(Math.max(0, dueMs - this.#clock.nowMs()), () => this.#run());
  }

  #run(): void {
    this.#timer = undefined;
    this.#dueMs = Infinity;
    let nextMs = Infinity;
    for (const watch of this.#watches) {
      if (watch.dueMs <= this.#clock.nowMs()) watch.run(this.#clock.nowMs());
      nextMs = Math.min(nextMs, watch.dueMs);
    }
    if (this.#watches.size > 0) this.wakeBy(nextMs);
  }
}

class EchoWatch implements LivenessWatch {
  readonly #prober: Prober;
  readonly #setup: EchoLivenessSetup;
  readonly #lines: readonly PairLine[];
  readonly #onVerdict: (verdict: Verdict) => void;
  #confirming: { readonly since: readonly number[]; readonly end: () => void }[] = [];
  verdict: Verdict = unknownVerdict;

  constructor(
    setup: EchoLivenessSetup,
    prober: Prober,
    {
      connection,
      onVerdict,
    }: {
      readonly connection: Connection;
      readonly onVerdict: (verdict: Verdict) => void;
    },
  ) {
    const { interfaceName, pairs } = probedWire(connection);
    this.#prober = prober;
    this.#setup = setup;
    this.#onVerdict = onVerdict;
    this.#lines = pairs.map((pair) => new PairLine(setup, pair, interfaceName));
    if (pairs.length > 0) prober.add(this);
  }

  get dueMs(): number {
    return this.#lines.reduce((least, { dueMs }) => Math.min(least, dueMs), Infinity);
  }

  run(nowMs: number): void {
    for (const line of this.#lines) if (line.dueMs <= nowMs) line.run(nowMs);
    const before = this.verdict.kind;
    this.verdict = this.#judged(nowMs);
    const isChanged = this.verdict.kind !== before;
    this.#endConfirmed();
    if (isChanged) this.#onVerdict(this.verdict);
  }

  async confirm(): Promise<Verdict> {
    if (this.#lines.length === 0 || this.verdict.kind === 'dead') return this.verdict;
    const { clock, confirmMsMax } = this.#setup;
    const nowMs = clock.nowMs();
    const since = this.#lines.map(({ sent }) => sent);
    for (const line of this.#lines) line.urge(nowMs);
    await new Promise<void>((end) => {
      const timer = clock.after(confirmMsMax, () => end());
      const ended = (): void => {
        timer.cancel();
        end();
      };
      this.#confirming.push({ since, end: ended });
      this.#prober.wakeBy(this.dueMs);
    });
    return this.verdict;
  }

  stop(): void {
    this.#prober.remove(this);
    for (const line of this.#lines) line.close();
    for (const { end } of this.#confirming.splice(0)) end();
  }

  #judged(nowMs: number): Verdict {
    const kinds = this.#lines.map((line) => line.verdictAt(nowMs));
    const dead = this.#lines[kinds.indexOf('dead')];
    if (dead !== undefined) return { kind: 'dead', what: 'wire', found: dead.silence };
    return kinds.includes('alive') ? aliveVerdict : unknownVerdict;
  }

  #endConfirmed(): void {
    const isOver = this.verdict.kind === 'dead';
    const isHeard = (since: readonly number[]): boolean =>
      this.#lines.every((line, index) => line.hasHeard(since[index] ?? 0));
    const ended = this.#confirming.filter(({ since }) => isOver || isHeard(since));
    if (ended.length === 0) return;
    this.#confirming = this.#confirming.filter((each) => !ended.includes(each));
    for (const { end } of ended) end();
  }
}
