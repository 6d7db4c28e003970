// One process of a simulated mesh over its lives: started, stopped as by SIGTERM, killed as by kill -9, and started
// again by its supervisor when it ends by itself. Invariant: it starts and stops within a bound, or that is a failure.

import { describeError } from '../../protocols/errors.ts';
import { platformStopMs, roleStopMs } from '../../bin/roles/stop-times.ts';
import type { RunningRole } from '../../bin/roles/running-role.ts';
import type { Ending } from '../../transports/memory/simulated-process.ts';
import { Life } from './life.ts';
import type { Ground } from './ground.ts';

/** A role that takes longer to start or to stop hangs. */
const startMsMax = 60_000;
export const stopMsMax = 30_000;
const restartMs = 1_000;

export interface PartSetup {
  readonly name: string;
  readonly place: string;
  readonly compose: (life: Life) => Promise<RunningRole>;
  /** Called with each kill, for what is not behind a port of its own. */
  readonly onKilled?: () => void;
}

export class Part {
  readonly name: string;
  readonly place: string;
  life: Life | undefined;
  /** It is to run, whether or not it does right now. */
  isWanted = false;
  isServing = false;
  readonly #ground: Ground;
  readonly #setup: PartSetup;
  #role: RunningRole | undefined;
  /** Waits for it to stop. */
  #onStopped: (() => void) | undefined;
  #lives = 0;

  constructor(ground: Ground, setup: PartSetup) {
    this.#ground = ground;
    this.#setup = setup;
    this.name = setup.name;
    this.place = setup.place;
  }

  get isRunning(): boolean {
    return this.life?.isAlive === true;
  }

  start(): void {
    if (this.isRunning) return;
    const { time, network, trace, seed } = this.#ground;
    this.isWanted = true;
    this.#lives += 1;
    const number = this.#lives;
    trace.add(`start ${this.name} life ${number}`);
    const life = new Life({
      name: this.name,
      place: this.#ground.place(this.place),
      seed,
      number,
      time,
      network,
      onLog: this.#ground.onLog,
      isVerbose: this.#ground.isVerbose,
      onKilled: () => this.#onKilled(life),
    });
    this.life = life;
    this.#ground.lives.push(life);
    const late = time.after(startMsMax, () => {
      if (life.isAlive && this.life === life && !this.isServing)
        this.#ground.fail('starts in time', `${this.name} does not start`);
    });
    this.#setup.compose(life).then(
      (role) => {
        late.cancel();
        if (!life.isAlive) return;
        this.#role = role;
        this.isServing = true;
        trace.add(`serving ${this.name}`);
      },
      (error: unknown) => {
        late.cancel();
        if (!life.isAlive) return;
        trace.add(`ended ${this.name} ${describeError(error)}`);
        life.kill('reset');
        time.after(restartMs, () => {
          if (this.isWanted && this.life === life) this.start();
        });
      },
    );
  }

  kill(ending: Ending): void {
    this.isWanted = false;
    this.life?.kill(ending);
  }

  /** Ends it as SIGTERM does, then calls back, also where it is killed before it has ended. */
  stop(onStopped: () => void = () => {}): void {
    const { life } = this;
    this.isWanted = false;
    if (life === undefined || !life.isAlive) {
      onStopped();
      return;
    }
    const role = this.#role;
    if (role === undefined) {
      life.kill('reset');
      onStopped();
      return;
    }
    this.#ground.trace.add(`stop ${this.name}`);
    this.#role = undefined;
    this.#onStopped = onStopped;
    this.isServing = false;
    const late = this.#ground.time.after(stopMsMax, () => {
      if (life.isAlive) this.#ground.fail('stops in time', `${this.name} does not stop`);
    });
    const stopping = async (): Promise<void> => {
      await role.stop(roleStopMs);
      await life.platform.stop(platformStopMs);
    };
    stopping().then(
      () => {
        late.cancel();
        if (!life.isAlive) return;
        this.#checkEmpty(life);
        life.exit();
        this.#hasStopped();
      },
      (error: unknown) => {
        late.cancel();
        if (life.isAlive)
          this.#ground.fail('stops in time', `${this.name}: ${describeError(error)}`);
      },
    );
  }

  #checkEmpty(life: Life): void {
    if (life.system.actorCount > 0) {
      this.#ground.fail('no actor is left', `${this.name}: ${life.system.actorCount}`);
    }
    const timers = life.pendingTimers;
    if (timers.length > 0) {
      this.#ground.fail('no timer is left', `${this.name}: ${timers.length} ${timers[0]}`);
    }
  }

  #onKilled(life: Life): void {
    if (this.life !== life) return;
    this.#ground.trace.add(`killed ${this.name}`);
    this.#role = undefined;
    this.isServing = false;
    this.#setup.onKilled?.();
    this.#hasStopped();
  }

  #hasStopped(): void {
    const onStopped = this.#onStopped;
    this.#onStopped = undefined;
    onStopped?.();
  }
}
