// One run of a plan: the mesh comes up, faults come and go, everything must be well again within a bound; then the
// clients leave, and after the last expiry nothing of them may be left anywhere; then the rest stops and is gone too.

import { describeError } from '../../protocols/errors.ts';
import { Faults } from './faults.ts';
import { type Failure, Ground, type GroundOptions } from './ground.ts';
import {
  checkConverged,
  checkEmpty,
  checkGone,
  checkShared,
  whyNotConverged,
} from './invariants.ts';
import { SimulatedMesh } from './mesh.ts';
import { type Part, stopMsMax } from './part.ts';
import { faultyMs, type Plan } from './plan.ts';

/** Whoever can be established is, this long after the last fault. */
const convergedMs = 120_000;
const lookMs = 500;
/** Far beyond what a run takes: somebody goes round without a pause. */
const eventsMax = 200_000;

export interface Outcome {
  readonly failure: Failure | undefined;
  readonly hash: string;
  readonly tail: readonly string[];
  readonly virtualMs: number;
  readonly events: number;
  readonly lines: number;
  /** From the end of the faults until all was well. */
  readonly convergedAfterMs: number;
}

export async function runPlan(
  plan: Plan,
  options: Omit<GroundOptions, 'seed'> = {},
): Promise<Outcome> {
  const ground = new Ground({ ...options, seed: plan.seed });
  const onRejection = (error: unknown): void =>
    ground.fail('no promise is left unhandled', describe(error));
  process.on('unhandledRejection', onRejection);
  const giveBack = ground.time.install((what) =>
    ground.fail('simulated code uses no real time', `${what} ${new Error('here').stack}`),
  );
  let convergedAfterMs = 0;
  try {
    convergedAfterMs = await run(ground, plan);
  } catch (error) {
    ground.fail('the run itself', describe(error));
  } finally {
    giveBack();
    process.off('unhandledRejection', onRejection);
  }
  const { failure, trace, time } = ground;
  const { hash, tail, lines } = trace;
  const virtualMs = time.nowMs();
  return { failure, hash, tail, virtualMs, events: time.events, lines, convergedAfterMs };
}

async function run(ground: Ground, { shape, operations }: Plan): Promise<number> {
  const { time } = ground;
  const hasFailed = (): boolean => {
    if (time.events > eventsMax) ground.fail('nobody works without a pause', `${eventsMax} events`);
    return ground.failure !== undefined;
  };
  const mesh = new SimulatedMesh(ground, shape);
  const faults = new Faults(mesh, Object.keys(shape.services));
  begin(mesh, shape);
  for (const operation of operations) time.after(operation.atMs, () => faults.apply(operation));
  let looks = true;
  const look = (): void => {
    checkShared(mesh);
    if (looks) time.after(lookMs, look);
  };
  look();
  await time.advanceTo(faultyMs, hasFailed);
  if (hasFailed()) return 0;
  ground.trace.add('FAULTS END');
  faults.end();
  const untilMs = faultyMs + convergedMs;
  const isDone = (): boolean => hasFailed() || whyNotConverged(mesh) === undefined;
  while (time.nowMs() < untilMs && !isDone())
    await time.advanceTo(time.nowMs() + lookMs, hasFailed);
  const convergedAfterMs = time.nowMs() - faultyMs;
  if (!hasFailed()) checkConverged(mesh);
  looks = false;
  // What was well must stay so, also over the next refreshes.
  await time.advanceTo(time.nowMs() + shape.lifetimeMs / 2, hasFailed);
  if (!hasFailed()) checkConverged(mesh);
  await end(ground, mesh, shape.lifetimeMs * (shape.keeps === true ? keptLives : 1));
  return convergedAfterMs;
}

function begin(mesh: SimulatedMesh, { services, clients }: Plan['shape']): void {
  const { time, random } = mesh.ground;
  mesh.registry.start();
  for (const { manager, forwarders } of mesh.nodes) {
    time.after(random.between(0, 20), () => manager.start());
    for (const { part } of forwarders) time.after(random.between(0, 40), () => part.start());
  }
  for (const [service, nodes] of Object.entries(services)) {
    for (const node of nodes) {
      time.after(random.between(0, 500), () => {
        const found = mesh.nodes[node];
        if (found !== undefined) mesh.addEndpoint(found, service);
      });
    }
  }
  for (const { node, service } of clients) {
    time.after(random.between(0, 1_000), () => {
      const found = mesh.nodes[node];
      if (found !== undefined) mesh.addClient(found, service);
    });
  }
}

/** Its life, and at the most: a look that could not tell, the first count, and one that finds no packet. */
const keptLives = 4;

/** Whoever hears late of an end has heard by then. */
const toldMsMax = 100_000;

/** Everybody leaves, clients first; after the longest expiry nothing may be left. */
async function end(ground: Ground, mesh: SimulatedMesh, lifetimeMs: number): Promise<void> {
  const { time } = ground;
  const hasFailed = (): boolean => ground.failure !== undefined;
  if (hasFailed()) return;
  for (const client of mesh.clients) client.close(() => {});
  await time.advanceTo(time.nowMs() + toldMsMax, hasFailed);
  if (hasFailed()) return;
  checkGone(mesh);
  await time.advanceTo(time.nowMs() + lifetimeMs + 60_000, hasFailed);
  if (hasFailed()) return;
  checkEmpty(mesh);
  await stopAll(
    ground,
    mesh.endpoints.map(({ part }) => part),
  );
  await stopAll(
    ground,
    mesh.nodes.flatMap(({ forwarders }) => forwarders.map(({ part }) => part)),
  );
  await stopAll(
    ground,
    mesh.nodes.map(({ manager }) => manager),
  );
  const left = [...mesh.bucket.entries.keys()].filter((key) => key.startsWith('nse/'));
  if (left.length > 0 && !hasFailed()) ground.fail('no registry entry is left', left.join());
  await stopAll(ground, [mesh.registry]);
  if (ground.network.flights > 0 && !hasFailed()) {
    ground.fail('no call is left', `${ground.network.flights}`);
  }
}

/** Goes on a little when they have stopped, for what is on its way. */
async function stopAll(ground: Ground, parts: readonly Part[]): Promise<void> {
  const { time } = ground;
  let left = parts.length;
  for (const part of parts) part.stop(() => (left -= 1));
  const isOver = (): boolean => ground.failure !== undefined || left === 0;
  await time.advanceTo(time.nowMs() + 2 * stopMsMax, isOver);
  if (ground.failure === undefined) await time.advanceTo(time.nowMs() + 5_000);
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.stack}` : describeError(error);
}
