// The reference's liveness check of one address pair: rounds of four echo requests, one answer enough, a pause between
// two rounds. Pure; driven as the continuous judge is.

import type { Verdict } from '../../protocols/ports/liveness.ts';
import type { EchoJudge } from './echo-judge.ts';

export interface EchoRoundsOptions {
  /** `NSM_LIVENESS_CHECK_INTERVAL`: the pause. */
  readonly intervalMs: number;
  /** `NSM_LIVENESS_CHECK_TIMEOUT`: of one round. */
  readonly timeoutMs: number;
}

const echoesPerRound = 4;

export function createEchoRounds(options: EchoRoundsOptions, startMs: number): EchoJudge {
  return new RoundsJudge(options, startMs);
}

class RoundsJudge implements EchoJudge {
  readonly #options: EchoRoundsOptions;
  dueMs: number;
  answered = -1;
  #verdict: Verdict['kind'] = 'unknown';
  #round: { readonly first: number; readonly startMs: number; sent: number } | undefined;

  constructor(options: EchoRoundsOptions, startMs: number) {
    this.#options = options;
    this.dueMs = startMs;
  }

  onSent(sequence: number, nowMs: number): void {
    this.#round ??= { first: sequence, startMs: nowMs, sent: 0 };
    this.#round.sent += 1;
    const { startMs, sent } = this.#round;
    const { timeoutMs } = this.#options;
    // The last one waits for the end of its round.
    this.dueMs = sent < echoesPerRound ? nowMs + timeoutMs / echoesPerRound : startMs + timeoutMs;
  }

  onAnswered(sequence: number, nowMs: number): void {
    if (this.#round === undefined || sequence < this.#round.first) return;
    this.answered = Math.max(this.answered, sequence);
    this.#endRound('alive', nowMs);
  }

  onHindered(nowMs: number): void {
    this.#endRound('unknown', nowMs);
  }

  verdictAt(nowMs: number): Verdict['kind'] {
    const round = this.#round;
    if (round !== undefined && nowMs - round.startMs >= this.#options.timeoutMs) {
      this.#endRound('dead', nowMs);
    }
    return this.#verdict;
  }

  urge(nowMs: number): void {
    if (this.#round === undefined) this.dueMs = Math.min(this.dueMs, nowMs);
  }

  #endRound(verdict: Verdict['kind'], nowMs: number): void {
    this.#verdict = verdict;
    this.#round = undefined;
    this.dueMs = nowMs + this.#options.intervalMs;
  }
}
