// Moves live clients when their Network Service changes: the reference's netsvcmonitor, which watches once per connection
// and closes what its service picks no more. Here the first manager of a connection follows each service once, out of the
// pushed cache, and has its clients asked to move. Invariants: nothing is kept per connection; only a change of the service
// moves anybody, never an Endpoint that came or went; a client for whom nobody else fits stays.

import { describeError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { NetworkService } from '../../protocols/nsm/gen/registry_pb.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { ConnectionTable } from '../connection/connection-table.ts';
import type { Discovery, Following } from '../discovery/discovery.ts';
import type { Judge, Moves } from './moves.ts';

export interface ServiceMonitorSetup {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly discovery: Discovery;
  readonly table: Pick<ConnectionTable, 'all'>;
  readonly moves: Moves;
  readonly judge: Judge;
}

interface Followed {
  following: Following | undefined;
  timer: Timer | undefined;
  failures: number;
}

/** What is applied together arrives together: one look for several changes. */
const settleMs = 100;
const backoffMs = 200;
const backoffMsMax = 10_000;
/** How often services that no connection uses any more are let go. */
const sweepMs = 60_000;

export class ServiceMonitor {
  #setup: ServiceMonitorSetup;
  #services = new Map<string, Followed>();
  #sweep: Timer | undefined;
  #isClosed = false;

  constructor(setup: ServiceMonitorSetup) {
    this.#setup = setup;
  }

  /** A connection of the service has been established here; cheap for one that is followed. */
  uses({ networkService: name, path }: Connection): void {
    if (this.#isClosed || path?.index !== 1 || this.#services.has(name)) return;
    const followed: Followed = { following: undefined, timer: undefined, failures: 0 };
    this.#services.set(name, followed);
    void this.#follow(name, followed);
    this.#armSweep();
  }

  close(): void {
    this.#isClosed = true;
    this.#sweep?.cancel();
    for (const followed of this.#services.values()) end(followed);
    this.#services.clear();
  }

  async #follow(name: string, followed: Followed): Promise<void> {
    const { discovery, log } = this.#setup;
    const listener = {
      endpointChanged: () => {},
      serviceChanged: (before: NetworkService | undefined, after: NetworkService | undefined) => {
        if (before !== undefined && after !== undefined) this.#lookSoon(name, followed, settleMs);
      },
    };
    const call = { deadlineMs: Number.POSITIVE_INFINITY, signal: new AbortController().signal };
    try {
      const following = await discovery.follow(name, listener, call);
      if (this.#services.get(name) !== followed) following.stop();
      // It may have changed while nobody here looked.
      else {
        followed.following = following;
        this.#lookSoon(name, followed, settleMs);
      }
    } catch (error) {
      if (this.#services.get(name) !== followed) return;
      followed.failures += 1;
      const fields = { service: name, error: describeError(error) };
      log.debug('a service cannot be followed yet, tried again', fields);
      const pauseMs = Math.min(backoffMs * 2 ** Math.min(followed.failures, 10), backoffMsMax);
      followed.timer = this.#after(pauseMs, () => void this.#follow(name, followed));
    }
  }

  #lookSoon(name: string, followed: Followed, afterMs: number): void {
    followed.timer?.cancel();
    followed.timer = this.#after(afterMs, () => {
      followed.timer = undefined;
      this.#look(name).catch((error: unknown) =>
        this.#setup.log.warn('a change of a service could not be judged, its clients stay', {
          service: name,
          error: describeError(error),
        }),
      );
    });
  }

  async #look(name: string): Promise<void> {
    const { discovery, table, moves, judge, clock, log } = this.#setup;
    const { signal } = new AbortController();
    const view = await discovery.discover(name, { deadlineMs: clock.nowMs() + 5_000, signal });
    const isPlaced = discovery.placement(view);
    let misplaced = 0;
    for (const { connection, established } of table.all()) {
      const isOurs = established && connection.networkService === name;
      if (!isOurs || connection.path?.index !== 1) continue;
      if (isPlaced(connection.labels, connection.networkServiceEndpointName)) continue;
      moves.consider(connection.id, judge);
      misplaced += 1;
    }
    if (misplaced > 0)
      log.info('a service changed, clients are to move', { service: name, misplaced });
  }

  #armSweep(): void {
    this.#sweep ??= this.#after(sweepMs, () => {
      this.#sweep = undefined;
      const used = new Set<string>();
      for (const { connection } of this.#setup.table.all()) used.add(connection.networkService);
      for (const [name, followed] of this.#services) {
        if (used.has(name)) continue;
        end(followed);
        this.#services.delete(name);
      }
      if (this.#services.size > 0) this.#armSweep();
    });
  }

  /** With up to half of it taken off at random, since all managers hear of a change at the same time. */
  #after(delayMs: number, work: () => void): Timer {
    return this.#setup.clock.after(delayMs * (1 - this.#setup.random.integer(1000) / 2000), work);
  }
}

function end({ following, timer }: Followed): void {
  timer?.cancel();
  following?.stop();
}
