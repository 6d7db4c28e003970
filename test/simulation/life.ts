// The ports of one life of a simulated process: its clocks, journal, network, dice and log, and the end of them all.
// A process that is killed does nothing any more that anybody could see: its timers are gone, its calls and its writes
// go nowhere, whatever its promises still do. Invariant: every effect of a process passes through here.

import { createActorSystem } from '../../actors/runtime/actor-system.ts';
import type { ActorSystem } from '../../actors/runtime/api.ts';
import type { Platform } from '../../bin/roles/platform.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Log, LogFields } from '../../protocols/ports/log.ts';
import type { Attached, SimulatedNetwork } from '../../transports/memory/simulated-network.ts';
import type { Ending } from '../../transports/memory/simulated-process.ts';
import { randomOf, type SeededRandom } from '../sandbox/seeded-random.ts';
import type { VirtualTime } from '../sandbox/virtual-time.ts';

/** One machine: its clocks and whether it is the same boot. */
export interface Place {
  readonly name: string;
  /** Of its monotonic clock, which no other machine shares. */
  originMs: number;
  /** Counts its starts: what an earlier one measured on its monotonic clock means nothing. */
  boot: number;
  /** Of its wall clock, which an administrator may step. */
  wallMs: number;
}

export interface LifeSetup {
  readonly name: string;
  readonly place: Place;
  readonly seed: number;
  /** Counts the lives of this process. */
  readonly number: number;
  readonly time: VirtualTime;
  readonly network: SimulatedNetwork;
  readonly onLog: (process: string, level: string, message: string, fields: LogFields) => void;
  readonly onKilled: () => void;
  readonly isVerbose: boolean;
}

export class Life {
  readonly name: string;
  readonly random: SeededRandom;
  readonly clock: Clock;
  readonly system: ActorSystem;
  readonly platform: Platform;
  isAlive = true;
  /** Steps until it is killed; Infinity while nobody wants that. */
  fuse = Number.POSITIVE_INFINITY;
  fuseEnding: Ending = 'silent';
  readonly #setup: LifeSetup;
  readonly #attached: Attached;
  /** With where each was armed, in a verbose run. */
  readonly #timers = new Map<Timer, string | undefined>();

  constructor(setup: LifeSetup) {
    const { name, place, time } = setup;
    this.#setup = setup;
    this.name = name;
    this.random = randomOf(setup.seed, `${name} ${setup.number}`);
    this.clock = this.#clockOf(time, place);
    const log = this.#log({});
    this.#attached = setup.network.attach({
      name,
      place: place.name,
      clock: this.clock,
      onStep: () => this.step(),
    });
    this.system = createActorSystem({ name, clock: this.clock, random: this.random, log });
    this.platform = {
      system: this.system,
      clock: this.clock,
      wallClock: { epochMs: () => place.wallMs + time.nowMs() },
      random: this.random,
      log,
      dialer: this.#attached.dialer,
      listener: this.#attached.listener,
      bus: undefined,
      natsUrl: undefined,
      bootId: `boot ${place.boot} of ${place.name}`,
      stop: async (timeoutMs) => {
        await this.system.stop(timeoutMs);
        await this.#attached.dialer.close();
      },
    };
  }

  /** Timers that its code has armed and not cancelled. */
  get pendingTimers(): readonly string[] {
    return Array.from(this.#timers.values(), (stack) => stack ?? 'a timer');
  }

  /** Something that others may see is about to happen. */
  step(): void {
    if (!this.isAlive) return;
    this.fuse -= 1;
    if (this.fuse <= 0) this.kill(this.fuseEnding);
  }

  kill(ending: Ending): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    for (const timer of this.#timers.keys()) timer.cancel();
    this.#timers.clear();
    this.#attached.kill(ending);
    this.#setup.onKilled();
  }

  /** Its work is done and its process ends by itself. */
  exit(): void {
    this.isAlive = false;
    this.#attached.kill('reset');
  }

  /** Of what serves the process and is not its own code: a kernel, a disk, a store. */
  get outsideClock(): Clock {
    return {
      nowMs: () => this.clock.nowMs(),
      after: (delayMs, callback) =>
        this.#setup.time.after(delayMs, () => this.isAlive && callback()),
    };
  }

  /** Never resolves for a process that has been killed meanwhile. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.outsideClock.after(ms, resolve);
    });
  }

  #clockOf(time: VirtualTime, { originMs }: Place): Clock {
    return {
      nowMs: () => originMs + time.nowMs(),
      after: (delayMs, callback) => {
        if (!this.isAlive) return { cancel: () => {} };
        const timer = time.after(delayMs, () => {
          this.#timers.delete(own);
          if (this.isAlive) callback();
        });
        const own: Timer = {
          cancel: () => {
            if (this.#timers.delete(own)) timer.cancel();
          },
        };
        this.#timers.set(own, this.#setup.isVerbose ? new Error(`+${delayMs}`).stack : undefined);
        return own;
      },
    };
  }

  #log(bound: LogFields): Log {
    const at =
      (level: string) =>
      (message: string, fields: LogFields = {}): void => {
        if (this.isAlive) this.#setup.onLog(this.name, level, message, { ...bound, ...fields });
      };
    return {
      error: at('error'),
      warn: at('warn'),
      info: at('info'),
      debug: () => {},
      child: (fields) => this.#log({ ...bound, ...fields }),
    };
  }
}
