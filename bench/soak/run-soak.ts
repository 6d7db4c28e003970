// A soak from beginning to end: random operations against real kernel wires on two nodes, then quiet, then what is
// left. Invariants: memory, timers and descriptors are compared within one life of a process, so the client's manager,
// its forwarder and the registry are spared until they have been; after that they are killed like everybody else.

import { setTimeout as pause } from 'node:timers/promises';
import { createPlatform, type Platform } from '../../bin/roles/platform.ts';
import { describeError } from '../../protocols/errors.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { seededRandom } from '../../test/actors/runtime/fixture.ts';
import { eventually } from '../../test/sandbox/eventually.ts';
import type { Part } from '../chaos/parts.ts';
import { Scene } from '../chaos/scene.ts';
import { createStage, type Stage } from '../chaos/stage.ts';
import { clientMember, handMember, type Member } from './cast.ts';
import { Hand } from './hand.ts';
import { differenceOf, type Holdings, holdingsOf, journaledAt } from './looks.ts';
import { measure, measureAtRest, type Measurement, measured } from './measurement.ts';
import { nextOperation, type Soaked } from './operations.ts';

export interface SoakOptions {
  readonly operations: number;
  readonly seed: number;
  /** Of 1,000 operations, how many kill or damage. */
  readonly trouble: number;
  /** Of tokens. */
  readonly lifetimeMs: number;
  /** How long quiet lasts, once nothing is left over. What is remembered of closed connections goes with their tokens. */
  readonly quietMs: number;
  readonly executable?: string;
  readonly progress: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface Growth {
  readonly part: string;
  readonly before: Measurement;
  readonly after: Measurement;
  /** Of resident memory, in bytes per 1,000 operations. */
  readonly slope: number;
}

export interface SoakResult {
  readonly seed: number;
  readonly counts: Readonly<Record<string, number>>;
  /** Operations that were refused, most of them while something was down, by what was said. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Wires that did not carry packets, or were others. */
  readonly broken: readonly string[];
  /** What outlived its clients. */
  readonly orphans: readonly string[];
  readonly growth: readonly Growth[];
  /** Operations before the first measurement. */
  readonly warmUp: number;
  readonly seconds: number;
}

const hands = 24;
const clients = 8;
const atOnce = 6;
/** Of all operations: warm-up until here, measured until there, then anything may be killed. */
const warmUpMax = 2_000;
const warmUpShare = 0.2;
const measuredShare = 0.8;
const samples = 20;
const quietTimeoutMs = 90_000;

export async function runSoak(options: SoakOptions): Promise<SoakResult> {
  const startedMs = performance.now();
  const stage = await createStage({
    nodes: 2,
    busServers: 1,
    env: measured(),
    lifetimeMs: options.lifetimeMs,
    ...(options.executable === undefined ? {} : { executable: options.executable }),
  });
  const soak = new Soak(options, stage);
  let left: readonly string[] = [];
  try {
    await soak.run();
  } finally {
    left = await stage.close();
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  return { ...soak.result(), orphans: [...soak.orphans, ...left], seconds };
}

class Soak {
  readonly orphans: string[] = [];
  readonly #options: SoakOptions;
  readonly #stage: Stage;
  readonly #scene: Scene;
  readonly #counts: Record<string, number> = {};
  readonly #refusals: Record<string, number> = {};
  readonly #broken: string[] = [];
  readonly #growth: Growth[] = [];
  #spared: readonly Part[] = [];
  #members: readonly Member[] = [];
  #done = 0;
  readonly #warmUp: number;

  constructor(options: SoakOptions, stage: Stage) {
    this.#options = options;
    this.#stage = stage;
    this.#scene = new Scene(stage);
    this.#warmUp = Math.min(warmUpMax, Math.floor(options.operations * warmUpShare));
  }

  result(): Omit<SoakResult, 'seconds' | 'orphans'> {
    return {
      seed: this.#options.seed,
      counts: this.#counts,
      refusals: this.#refusals,
      broken: this.#broken,
      growth: this.#growth,
      warmUp: this.#warmUp,
    };
  }

  async run(): Promise<void> {
    const platform = await createPlatform({
      name: 'soak',
      log: silentLog,
      natsUrl: undefined,
      maxTokenLifetimeMs: this.#options.lifetimeMs,
      ...(await this.#stage.mesh.securityOf('soak')),
    });
    try {
      await this.#onScene(platform);
      this.orphans.push(...(await this.#journaled(platform)));
    } finally {
      await platform.stop(5_000);
    }
  }

  /** However it ends, the scene's own processes end with it. */
  async #onScene(platform: Platform): Promise<void> {
    const { seed, trouble, lifetimeMs } = this.#options;
    try {
      const services = await this.#setScene();
      this.#members = this.#cast(platform, lifetimeMs);
      const soaked: Soaked = {
        scene: this.#scene,
        members: this.#members,
        services,
        random: seededRandom(seed),
        trouble,
        victims: () => this.#stage.parts.filter((part) => !this.#spared.includes(part)),
        isUpset: false,
        onRefused: (what, error) => this.#onRefused(what, error),
        onBroken: (what, error) => this.#onBroken(what, error),
      };
      await this.#phases(soaked, platform);
    } finally {
      this.orphans.push(...(await this.#scene.end()));
    }
  }

  /** Two real clients, and Endpoints on both nodes; the third service has one on each. */
  async #setScene(): Promise<readonly string[]> {
    const [near, far] = this.#stage.nodes;
    if (near === undefined || far === undefined) throw new Error('a soak has two nodes');
    const local = await this.#scene.addWire({ service: 'local', endpointNode: near });
    const remote = await this.#scene.addWire({ service: 'remote', endpointNode: far });
    const replicated = this.#stage.unique('replicated');
    await this.#scene.addEndpoint(near, replicated);
    await this.#scene.addEndpoint(far, replicated);
    return [local.service, remote.service, replicated];
  }

  #cast(platform: Platform, lifetimeMs: number): readonly Member[] {
    const { nodes, mesh, namespace } = this.#stage;
    const nodeAt = (at: number) => nodes[at % nodes.length] ?? nodes[0];
    return Array.from({ length: hands + clients }, (_, at) => {
      const node = nodeAt(at);
      if (node === undefined) throw new Error('a soak has nodes');
      if (at >= hands) return clientMember(this.#stage, `soaked-client-${at}`, node);
      const url = mesh.socketOf(node);
      const name = `soaked-hand-${at}`;
      const hand = new Hand({ name, node, url, platform, lifetimeMs, namespace });
      return handMember(this.#stage, hand);
    });
  }

  async #phases(soaked: Soaked, platform: Platform): Promise<void> {
    const { operations } = this.#options;
    const spared = ['node-1/nsmgr', 'node-1/forwarder', 'registry'];
    this.#spared = this.#stage.parts.filter(({ name }) => spared.includes(name));
    const look = () => this.#look(platform);
    const atRest = await look();
    const measuredUntil = Math.floor(operations * measuredShare);
    await this.#operate(soaked, this.#warmUp);
    await this.#askEverybody(soaked);
    await this.#quiet(look, atRest);
    const before = await this.#measureAll();
    const resident = await this.#sampled(soaked, measuredUntil);
    await this.#askEverybody(soaked);
    await this.#quiet(look, atRest);
    const after = await this.#measureAll();
    for (const part of this.#spared) this.#growth.push(growthOf(part, before, after, resident));
    this.#spared = [];
    await this.#operate(soaked, operations);
    await this.#allWell(soaked);
    await this.#quiet(look, atRest);
  }

  /** Until `until` operations are done, in all. */
  async #operate(soaked: Soaked, until: number): Promise<void> {
    const worker = async (): Promise<void> => {
      while (this.#done < until) {
        this.#options.signal.throwIfAborted();
        const operation = nextOperation(soaked);
        if (operation === undefined) {
          await pause(5);
          continue;
        }
        this.#done += 1;
        this.#counts[operation.name] = (this.#counts[operation.name] ?? 0) + 1;
        if (this.#done % 500 === 0) this.#options.progress(`${this.#done} operations`);
        await operation.run();
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
  }

  /** Resident memory of the spared parts while operations go on. */
  async #sampled(soaked: Soaked, until: number): Promise<ReadonlyMap<Part, readonly Point[]>> {
    const points = new Map<Part, Point[]>(this.#spared.map((part) => [part, []]));
    const from = this.#done;
    for (let sample = 1; sample <= samples; sample += 1) {
      await this.#operate(soaked, from + Math.floor(((until - from) * sample) / samples));
      for (const part of this.#spared) {
        const { rss } = await measure(this.#stateDirOf(part), part.pid());
        points.get(part)?.push({ x: this.#done, y: rss });
      }
    }
    return points;
  }

  /** From both nodes, so that the same channels stand open whenever it is measured, whoever was killed last. */
  async #askEverybody({ members, services }: Soaked): Promise<void> {
    const [near, far] = members;
    for (const member of [near, far]) {
      if (member === undefined) continue;
      // Twice, since one of the services has two Endpoints that take turns.
      for (const service of [...services, ...services]) {
        await this.#untilDone(member, 'close', () => member.close());
        await this.#untilDone(member, 'ask everybody', () => member.create(service));
      }
    }
  }

  /** Every member holds a wire that carries packets. */
  async #allWell(soaked: Soaked): Promise<void> {
    for (const member of soaked.members) {
      await this.#untilDone(member, 'hold a wire', async () => {
        if (member.endpoint === undefined) {
          await member.close();
          await member.create(soaked.services[0] ?? '');
        } else await member.refresh?.();
      });
      await member.check().catch((error: unknown) => this.#onBroken('check', error));
    }
  }

  /** All members have closed, and the mesh holds no more than before them. */
  async #quiet(look: () => Promise<Holdings>, atRest: Holdings): Promise<void> {
    this.#options.progress(`quiet after ${this.#done} operations`);
    for (const member of this.#members) {
      await this.#untilDone(member, 'close', () => member.close());
    }
    const deadline = performance.now() + quietTimeoutMs;
    for (;;) {
      const { over, missing } = differenceOf(atRest, await look());
      if (over.length === 0 && missing.length === 0) break;
      if (performance.now() > deadline) {
        for (const each of over) this.#options.progress(`LEFT OVER: ${each}`);
        this.orphans.push(...over);
        this.#broken.push(...missing);
        break;
      }
      await pause(250);
    }
    await pause(this.#options.quietMs);
  }

  async #untilDone(member: Member, what: string, work: () => Promise<void>): Promise<void> {
    const deadline = performance.now() + quietTimeoutMs;
    for (;;) {
      this.#options.signal.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        if (performance.now() < deadline) await pause(100);
        else
          return void this.#broken.push(`${member.name} cannot ${what}: ${describeError(error)}`);
      }
    }
  }

  /** A process that was killed last may still be on its way back. */
  #look(platform: Platform): Promise<Holdings> {
    const withManagers = this.#options.lifetimeMs < quietTimeoutMs;
    return eventually('every process says what it holds', quietTimeoutMs, () =>
      holdingsOf(this.#stage, platform, { withManagers }),
    );
  }

  /** Of Endpoints that have ended; the real clients have only just left their leases. */
  async #journaled(platform: Platform): Promise<readonly string[]> {
    if (this.#options.lifetimeMs > this.#options.quietMs) return [];
    const leaseholders = this.#scene.wires.map(({ client }) => client.name);
    const found = this.#scene.endpoints.map(({ name }) =>
      journaledAt(this.#stage.stateDir, name, { platform, leaseholders }),
    );
    return (await Promise.all(found)).flat();
  }

  async #measureAll(): Promise<ReadonlyMap<Part, Measurement>> {
    const found = await Promise.all(
      this.#spared.map(
        async (part) => [part, await measureAtRest(this.#stateDirOf(part), part.pid())] as const,
      ),
    );
    return new Map(found);
  }

  #stateDirOf(part: Part): string {
    const [owner = ''] = part.name.split('/');
    return `${this.#stage.stateDir}/${owner}`;
  }

  #onBroken(what: string, error: unknown): void {
    const text = `${what} after ${this.#done} operations: ${describeError(error)}`;
    this.#broken.push(text);
    this.#options.progress(`BROKEN: ${text}`);
  }

  #onRefused(what: string, error: unknown): void {
    const key = `${what}: ${describeError(error).slice(0, 90)}`.replace(/[-_]\d+/g, '');
    this.#refusals[key] = (this.#refusals[key] ?? 0) + 1;
  }
}

interface Point {
  readonly x: number;
  readonly y: number;
}

function growthOf(
  part: Part,
  before: ReadonlyMap<Part, Measurement>,
  after: ReadonlyMap<Part, Measurement>,
  resident: ReadonlyMap<Part, readonly Point[]>,
): Growth {
  const [first, last] = [before.get(part), after.get(part)];
  if (first === undefined || last === undefined) throw new Error(`${part.name} was not measured`);
  return {
    part: part.name,
    before: first,
    after: last,
    slope: slopeOf(resident.get(part) ?? []) * 1_000,
  };
}

/** Of the line that fits best. */
export function slopeOf(points: readonly Point[]): number {
  const mean = (of: (point: Point) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / Math.max(1, points.length);
  const x = mean((point) => point.x);
  const y = mean((point) => point.y);
  const across = mean((point) => (point.x - x) * (point.y - y));
  const along = mean((point) => (point.x - x) ** 2);
  return along === 0 ? 0 : across / along;
}
