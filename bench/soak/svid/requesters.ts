// Requests that never stop: connections by hand, made, refreshed and closed one after the other, and one per node that is
// held and refreshed all the time. Nothing is broken meanwhile, so every one of them has to succeed.

import { setTimeout as pause } from 'node:timers/promises';
import type { Platform } from '../../../bin/roles/platform.ts';
import { describeError } from '../../../protocols/errors.ts';
import type { Stage } from '../../chaos/stage.ts';
import { Hand } from '../hand.ts';

export interface RequestFigures {
  created: number;
  refreshed: number;
  closed: number;
  /** Of one that succeeded. */
  slowestMs: number;
  readonly failures: string[];
}

const handsPerNode = 1;
const refreshesEach = 3;
/** Of a connection that is held. */
const refreshEveryMs = 500;
/** Between two steps of a hand: what is tried is a renewal under load, not a machine at its limit. */
const stepMs = 100;
/** As of a client of the reference (NSM_REQUEST_TIMEOUT). */
const requestTimeoutMs = 15_000;
const failuresMax = 100;

export class Requesters {
  readonly figures: RequestFigures = {
    created: 0,
    refreshed: 0,
    closed: 0,
    slowestMs: 0,
    failures: [],
  };
  readonly #stage: Stage;
  readonly #platform: Platform;
  readonly #services: readonly string[];
  readonly #progress: (text: string) => void;
  readonly #running: Promise<void>[] = [];
  #isOver = false;

  constructor(
    stage: Stage,
    platform: Platform,
    services: readonly string[],
    progress: (text: string) => void,
  ) {
    this.#progress = progress;
    this.#stage = stage;
    this.#platform = platform;
    this.#services = services;
  }

  start(): void {
    for (const node of this.#stage.nodes) {
      for (let at = 0; at <= handsPerNode; at += 1) {
        const hand = new Hand({
          name: `hand-${node.name}-${at}`,
          node,
          url: this.#stage.mesh.socketOf(node),
          platform: this.#platform,
          lifetimeMs: 600_000,
          requestTimeoutMs,
          namespace: this.#stage.namespace,
        });
        this.#running.push(at === handsPerNode ? this.#hold(hand) : this.#repeat(hand));
      }
    }
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#running);
  }

  async #repeat(hand: Hand): Promise<void> {
    for (let round = 0; !this.#isOver; round += 1) {
      const service = this.#services[round % this.#services.length] ?? '';
      await this.#try('create', hand, () => hand.create(service));
      for (let refresh = 0; refresh < refreshesEach; refresh += 1) await this.#refresh(hand);
      await this.#try('close', hand, () => hand.close());
    }
  }

  async #hold(hand: Hand): Promise<void> {
    await this.#try('create', hand, () => hand.create(this.#services.at(-1) ?? ''));
    while (!this.#isOver) {
      await this.#refresh(hand);
      await pause(refreshEveryMs);
    }
    await this.#try('close', hand, () => hand.close());
  }

  async #refresh(hand: Hand): Promise<void> {
    await this.#try('refresh', hand, () => hand.refresh());
  }

  async #try(
    what: 'create' | 'refresh' | 'close',
    hand: Hand,
    work: () => Promise<void>,
  ): Promise<void> {
    const { figures } = this;
    const counted = ({ create: 'created', refresh: 'refreshed', close: 'closed' } as const)[what];
    const beganMs = performance.now();
    try {
      await work();
      figures[counted] += 1;
      figures.slowestMs = Math.max(figures.slowestMs, performance.now() - beganMs);
    } catch (error) {
      if (figures.failures.length < failuresMax) {
        const at = new Date().toISOString().slice(11, 23);
        const text = `${at} ${what} of ${hand.name}: ${describeError(error)}`;
        figures.failures.push(text);
        this.#progress(`FAILED: ${text}`);
      }
    }
    await pause(stepMs);
  }
}
