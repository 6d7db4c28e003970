// Judges one address pair by the echoes that were sent and answered, without an end: when the next one is due, and
// whether the other end is alive. NSM concept: data-plane liveness, faster than the reference's rounds.
// Invariants: an echo counts as missed only once it had ample time, by the round trips seen lately; a few missed in a
// row are death, the first answer is life; what this side could not send says nothing. Pure: time comes in.

import type { Verdict } from '../../protocols/ports/liveness.ts';

type Kind = Verdict['kind'];

/** What drives the echoes of one pair. Sequences count from 0 and are handed out by whoever sends. */
export interface EchoJudge {
  /** When the next echo is to be sent. */
  readonly dueMs: number;
  /** The highest sequence that was answered; -1 before the first. */
  readonly answered: number;
  onSent(sequence: number, nowMs: number): void;
  onAnswered(sequence: number, nowMs: number): void;
  /** The echo could not be sent from here. */
  onHindered(nowMs: number): void;
  verdictAt(nowMs: number): Kind;
  /** Somebody waits for a fresh verdict: the next echoes come at once and closely, until an answer or death. */
  urge(nowMs: number): void;
}

export interface EchoJudgeOptions {
  readonly intervalMs: number;
  /** Missed in a row. */
  readonly missedMax: number;
  /** A wire that never answered is dead after this long. */
  readonly firstAnswerMs: number;
}

/** Between two echoes while somebody waits. */
const urgentIntervalMs = 10;
/** The least that an answer may take, however fast the last ones were, and the most that is waited for one. */
const answerMsMin = 20;
const answerMsMax = 2_000;
/** How fast a slow round trip is forgotten, per answer. */
const forgetting = 0.9;
/** Echoes whose time of sending is kept. */
const keptMax = 256;

export function createEchoJudge(options: EchoJudgeOptions, startMs: number): EchoJudge {
  return new ContinuousJudge(options, startMs);
}

class ContinuousJudge implements EchoJudge {
  readonly #options: EchoJudgeOptions;
  readonly #sentAtMs = new Map<number, number>();
  dueMs: number;
  answered = -1;
  #slowestMs = 0;
  /** Since when the other end may answer; undefined while this side is hindered. */
  #sinceMs: number | undefined;
  #isAnswered = false;
  #isUrgent = false;

  constructor(options: EchoJudgeOptions, startMs: number) {
    this.#options = options;
    this.dueMs = startMs;
    this.#sinceMs = startMs;
  }

  onSent(sequence: number, nowMs: number): void {
    this.#sinceMs ??= nowMs;
    this.#sentAtMs.set(sequence, nowMs);
    if (this.#sentAtMs.size > keptMax) this.#forgetUpTo(sequence - keptMax);
    // Nobody waits for what is dead: asked on like this it would be asked a hundred times a second for ever.
    if (this.#isUrgent && this.verdictAt(nowMs) === 'dead') this.#isUrgent = false;
    // On a grid that all pairs share, so that one wake-up of the process serves them all.
    const paceMs = this.#paceMs();
    this.dueMs = (Math.floor(nowMs / paceMs) + 1) * paceMs;
  }

  onAnswered(sequence: number, nowMs: number): void {
    const sentAtMs = this.#sentAtMs.get(sequence);
    if (sentAtMs === undefined) return;
    this.#slowestMs = Math.max(nowMs - sentAtMs, this.#slowestMs * forgetting);
    this.answered = Math.max(this.answered, sequence);
    this.#isAnswered = true;
    this.#isUrgent = false;
    this.#forgetUpTo(sequence);
  }

  onHindered(nowMs: number): void {
    this.#sinceMs = undefined;
    this.#isAnswered = false;
    this.#sentAtMs.clear();
    this.dueMs = nowMs + this.#options.intervalMs;
  }

  verdictAt(nowMs: number): Kind {
    if (this.#sinceMs === undefined) return 'unknown';
    const isMissed = this.#missedAt(nowMs) >= this.#options.missedMax;
    if (this.#isAnswered) return isMissed ? 'dead' : 'alive';
    const isLate = nowMs - this.#sinceMs >= this.#options.firstAnswerMs;
    return isMissed && isLate ? 'dead' : 'unknown';
  }

  urge(nowMs: number): void {
    this.#isUrgent = true;
    this.dueMs = Math.min(this.dueMs, nowMs);
  }

  #paceMs(): number {
    const { intervalMs } = this.#options;
    return this.#isUrgent ? Math.min(urgentIntervalMs, intervalMs) : intervalMs;
  }

  /** Those behind the last answer that have had their time. */
  #missedAt(nowMs: number): number {
    const answerMs = Math.min(answerMsMax, Math.max(answerMsMin, 2 * this.#slowestMs));
    let missed = 0;
    for (const sentAtMs of this.#sentAtMs.values()) if (nowMs - sentAtMs >= answerMs) missed += 1;
    return missed;
  }

  #forgetUpTo(sequence: number): void {
    for (const each of this.#sentAtMs.keys()) if (each <= sequence) this.#sentAtMs.delete(each);
  }
}
