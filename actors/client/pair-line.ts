// One address pair of a watched wire: its line, opened anew after it was hindered, and its judge. Invariants: never
// opened more often than a pause allows; what has arrived is heard before anything is judged or sent, so that a process
// that was held up blames nobody.

import type { AddressPair } from '../../protocols/nsm/probed-wire.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { EchoLine, OpenEchoLine, Verdict } from '../../protocols/ports/liveness.ts';
import type { EchoJudge } from './echo-judge.ts';

export interface EchoLivenessSetup {
  readonly clock: Clock;
  readonly open: OpenEchoLine;
  readonly judge: (startMs: number) => EchoJudge;
  /** The most that a confirmation may take. */
  readonly confirmMsMax: number;
}

/** Looks for a reply after an echo: soon, since most come at once, then less often. */
const lookAfterMs = [1, 4, 10, 10, 10, 20];
const reopenAfterMs = 200;

export class PairLine {
  readonly #setup: EchoLivenessSetup;
  readonly #pair: AddressPair;
  readonly #interfaceName: string;
  readonly #judge: EchoJudge;
  #line: EchoLine | undefined;
  #looks = 0;
  #lookMs = Infinity;
  #reopenMs = 0;
  #isHindered = false;
  /** Echoes so far: the next one's sequence. */
  sent = 0;

  constructor(setup: EchoLivenessSetup, pair: AddressPair, interfaceName: string) {
    this.#setup = setup;
    this.#pair = pair;
    this.#interfaceName = interfaceName;
    this.#judge = setup.judge(setup.clock.nowMs());
  }

  get dueMs(): number {
    return Math.min(this.#judge.dueMs, this.#lookMs);
  }

  /** An echo of that sequence or a later one was answered, or none can be sent. */
  hasHeard(sequence: number): boolean {
    return this.#isHindered || this.#judge.answered >= sequence;
  }

  get silence(): string {
    const { source, destination } = this.#pair;
    return `no reply to echo requests from ${source} to ${destination}`;
  }

  run(nowMs: number): void {
    this.#hear(nowMs);
    this.#judge.verdictAt(nowMs);
    if (this.#judge.dueMs <= nowMs) this.#send(nowMs);
    else if (this.#lookMs <= nowMs) this.#lookAgain(nowMs);
  }

  verdictAt(nowMs: number): Verdict['kind'] {
    return this.#judge.verdictAt(nowMs);
  }

  urge(nowMs: number): void {
    this.#judge.urge(nowMs);
  }

  close(): void {
    this.#line?.close();
    this.#line = undefined;
    this.#lookMs = Infinity;
  }

  #hear(nowMs: number): void {
    for (const sequence of this.#line?.receive() ?? []) {
      this.#judge.onAnswered(sequence, nowMs);
      if (this.#judge.answered === this.sent - 1) this.#lookMs = Infinity;
    }
  }

  #send(nowMs: number): void {
    const line = this.#opened(nowMs);
    this.#isHindered = line?.send(this.sent) !== true;
    if (this.#isHindered) {
      this.#judge.onHindered(nowMs);
      // Its interface may be another one the next time.
      this.close();
      return;
    }
    this.#judge.onSent(this.sent, nowMs);
    this.sent += 1;
    this.#looks = 0;
    this.#lookAgain(nowMs);
  }

  #lookAgain(nowMs: number): void {
    this.#lookMs = nowMs + (lookAfterMs[this.#looks] ?? Infinity);
    this.#looks += 1;
  }

  #opened(nowMs: number): EchoLine | undefined {
    if (this.#line === undefined && nowMs >= this.#reopenMs) {
      this.#reopenMs = nowMs + reopenAfterMs;
      this.#line = this.#setup.open(this.#pair, this.#interfaceName);
    }
    return this.#line;
  }
}
