// Liveness of the service behind a wire: at an interval a connect to the Endpoint's first address of each family; a
// few tries in a row that are refused or unanswered, each half an interval after the other, mean that it is dead. NSM concept: none; the reference sees only
// packets. Invariants: a service that has never answered is not known, so that one that still starts, or listens on
// one family alone, sends no client away; one try at a time per address; after `stop` nobody is told.

import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { probedWire } from '../../protocols/nsm/probed-wire.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import {
  aliveVerdict,
  type ContactService,
  type Liveness,
  type LivenessWatch,
  unknownVerdict,
  type Verdict,
} from '../../protocols/ports/liveness.ts';

export interface ServiceLivenessSetup {
  readonly clock: Clock;
  readonly contact: ContactService;
  readonly port: number;
  readonly intervalMs: number;
  /** How long one try may take. */
  readonly timeoutMs: number;
  /** Failed in a row. */
  readonly failedMax: number;
}

export function createServiceLiveness(setup: ServiceLivenessSetup): Liveness {
  return {
    watch: (connection, onVerdict) => new ServiceWatch(setup, connection, onVerdict),
  };
}

class ServiceWatch implements LivenessWatch {
  readonly #setup: ServiceLivenessSetup;
  readonly #targets: readonly Target[];
  readonly #onVerdict: (verdict: Verdict) => void;
  verdict: Verdict = unknownVerdict;

  constructor(
    setup: ServiceLivenessSetup,
    connection: Connection,
    onVerdict: (verdict: Verdict) => void,
  ) {
    this.#setup = setup;
    this.#onVerdict = onVerdict;
    this.#targets = firstOfEachFamily(connection).map(
      (address) => new Target(setup, address, () => this.#judge()),
    );
  }

  /** What it knows is as fresh as its interval; a try of its own would not come sooner. */
  confirm(): Promise<Verdict> {
    return Promise.resolve(this.verdict);
  }

  stop(): void {
    for (const target of this.#targets) target.stop();
  }

  #judge(): void {
    const before = this.verdict.kind;
    const dead = this.#targets.find(({ kind }) => kind === 'dead');
    if (dead !== undefined) {
      const found = `${dead.last} at ${dead.address} port ${this.#setup.port}`;
      this.verdict = { kind: 'dead', what: 'service', found };
    } else {
      const isAlive = this.#targets.some(({ kind }) => kind === 'alive');
      this.verdict = isAlive ? aliveVerdict : unknownVerdict;
    }
    if (this.verdict.kind !== before) this.#onVerdict(this.verdict);
  }
}

/** One address. */
class Target {
  readonly address: string;
  readonly #setup: ServiceLivenessSetup;
  readonly #onTried: () => void;
  readonly #stop = new AbortController();
  #timer: Timer | undefined;
  #hasAnswered = false;
  #failed = 0;
  last = '';

  constructor(setup: ServiceLivenessSetup, address: string, onTried: () => void) {
    this.#setup = setup;
    this.address = address;
    this.#onTried = onTried;
    this.#tryAfter(0);
  }

  get kind(): Verdict['kind'] {
    if (!this.#hasAnswered) return 'unknown';
    return this.#failed >= this.#setup.failedMax ? 'dead' : 'alive';
  }

  stop(): void {
    this.#stop.abort();
    this.#timer?.cancel();
  }

  #tryAfter(delayMs: number): void {
    this.#timer = this.#setup.clock.after(delayMs, () => void this.#try());
  }

  async #try(): Promise<void> {
    const { clock, contact, port, timeoutMs, failedMax } = this.#setup;
    const { signal } = this.#stop;
    const startMs = clock.nowMs();
    const result = await contact(this.address, { port, timeoutMs, signal });
    if (signal.aborted) return;
    if (result === 'connected') {
      this.#hasAnswered = true;
      this.#failed = 0;
    } else if (result !== 'hindered') {
      this.last = result;
      this.#failed = Math.min(failedMax, this.#failed + 1);
    }
    this.#onTried();
    // What may be dead is looked at more closely; what is dead for certain is not.
    const isInDoubt = this.#failed > 0 && this.#failed < failedMax;
    const intervalMs = isInDoubt ? this.#setup.intervalMs / 2 : this.#setup.intervalMs;
    this.#tryAfter(Math.max(0, intervalMs - (clock.nowMs() - startMs)));
  }
}

function firstOfEachFamily(connection: Connection): readonly string[] {
  const addresses = probedWire(connection).pairs.map(({ destination }) => destination);
  const isIpv6 = (address: string): boolean => address.includes(':');
  return [addresses.find((each) => !isIpv6(each)), addresses.find(isIpv6)].flatMap(
    (each) => each ?? [],
  );
}
