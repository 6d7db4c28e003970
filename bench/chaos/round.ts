// One round of a chaos case: a control run without fault, then the run with it, then what became of packets and
// interfaces. A round counts only if its control run lost nothing; it is repeated otherwise, a few times at most.

import type { InterfaceFacts } from '../../test/sandbox/mesh-probes.ts';
import type { ChaosCase } from './case.ts';
import { monotonicMs, type ProbeResult } from './probe.ts';
import type { ChaosWire, Scene } from './scene.ts';

export interface WireOutcome {
  readonly service: string;
  readonly sent: number;
  readonly lostThere: number;
  readonly lostBack: number;
  readonly duplicated: number;
  readonly reordered: number;
  readonly longestMs: number;
  /** When the longest gap began, after the fault. */
  readonly longestAtMs: number | undefined;
  /** From the fault to the first answer after the last gap; 0 where nothing was lost. */
  readonly restoredMs: number;
  /** What is different about the client's interface; empty as a rule. */
  readonly changed: readonly string[];
  readonly lostAddresses: readonly string[];
  readonly newAddresses: readonly string[];
}

export interface RoundOutcome {
  readonly wires: readonly WireOutcome[];
  /** From the fault until every client was content and new wires could be made. */
  readonly recoveryMs: number;
  /** Control runs that lost something before the one that counts. */
  readonly controlsRepeated: number;
}

const controlsMax = 4;
/** Before the fault, so that it meets a running stream. */
const leadMs = 300;
const contentTimeoutMs = 60_000;

export async function runRound(scene: Scene, chaos: ChaosCase): Promise<RoundOutcome> {
  await scene.contented(contentTimeoutMs);
  const controlsRepeated = await control(scene, chaos.windowMs);
  const before = await factsOf(scene);
  const stopFollowing = await begin(scene);
  const endAt = monotonicMs() + chaos.windowMs;
  await sleep(leadMs);
  const calledMs = monotonicMs();
  const faultMs = (await chaos.fault(scene)) ?? calledMs;
  const wellAgain = chaos.isWellAgain ?? ((each, timeoutMs) => each.contented(timeoutMs));
  const contented = wellAgain(scene, contentTimeoutMs).then(
    () => monotonicMs() - faultMs,
    (error: unknown) => error,
  );
  await sleep(endAt - monotonicMs());
  const results = await end(scene);
  const recoveryMs = await contented;
  stopFollowing();
  if (typeof recoveryMs !== 'number') throw recoveryMs;
  const after = await factsOf(scene);
  return {
    wires: scene.wires.map((wire) =>
      outcomeOf(wire, { result: results.get(wire), faultMs, before, after }),
    ),
    recoveryMs,
    controlsRepeated,
  };
}

/** Resolves with how many runs lost something. */
async function control(scene: Scene, windowMs: number): Promise<number> {
  const found: string[] = [];
  for (let repeated = 0; repeated < controlsMax; repeated += 1) {
    const stopFollowing = await begin(scene);
    await sleep(windowMs);
    const results = await end(scene);
    stopFollowing();
    const lost = [...results.values()].reduce((sum, each) => sum + lostOf(each), 0);
    if (lost === 0) return repeated;
    found.push(String(lost));
  }
  throw new Error(`control runs without fault lost ${found.join(', ')} packets`);
}

export const lostOf = (each: { readonly lostThere: number; readonly lostBack: number }): number =>
  each.lostThere + each.lostBack;

/** Starts all streams; each follows the address of its other end until the returned function is called. */
async function begin(scene: Scene): Promise<() => void> {
  const to = new Map(scene.wires.map((wire) => [wire, scene.peerOf(wire)]));
  await Promise.all(scene.wires.map((wire) => wire.sender.begin(to.get(wire) ?? '')));
  const timer = setInterval(() => {
    for (const wire of scene.wires) {
      const now = scene.peerOf(wire);
      if (now === '' || now === to.get(wire)) continue;
      to.set(wire, now);
      wire.sender.redirect(now);
    }
  }, 2);
  return () => clearInterval(timer);
}

async function end(scene: Scene): Promise<ReadonlyMap<ChaosWire, ProbeResult>> {
  const results = await Promise.all(
    scene.wires.map(async (wire) => [wire, await wire.sender.end(scene.answerers)] as const),
  );
  return new Map(results);
}

type Facts = ReadonlyMap<ChaosWire, InterfaceFacts | undefined>;

async function factsOf(scene: Scene): Promise<Facts> {
  const facts = await Promise.all(
    scene.wires.map(async (wire) => [wire, await wire.facts()] as const),
  );
  return new Map(facts);
}

function outcomeOf(
  wire: ChaosWire,
  seen: {
    readonly result: ProbeResult | undefined;
    readonly faultMs: number;
    readonly before: Facts;
    readonly after: Facts;
  },
): WireOutcome {
  const { result, faultMs, before, after } = seen;
  if (result === undefined) throw new Error(`${wire.service} was not measured`);
  const changes = changesOf(before.get(wire), after.get(wire));
  return {
    service: wire.service,
    sent: result.sent,
    lostThere: result.lostThere,
    lostBack: result.lostBack,
    duplicated: result.duplicated,
    reordered: result.reordered,
    longestMs: result.longestMs,
    longestAtMs: result.longestAtMs === undefined ? undefined : result.longestAtMs - faultMs,
    restoredMs: result.flowsAgainMs === undefined ? 0 : Math.max(0, result.flowsAgainMs - faultMs),
    ...changes,
  };
}

function changesOf(
  before: InterfaceFacts | undefined,
  after: InterfaceFacts | undefined,
): Pick<WireOutcome, 'changed' | 'lostAddresses' | 'newAddresses'> {
  if (before === undefined || after === undefined) {
    const changed = before === after ? [] : ['the interface is gone'];
    return { changed, lostAddresses: [], newAddresses: [] };
  }
  const pairs = [
    ['ifindex', before.index, after.index],
    ['name', before.name, after.name],
    ['MAC', before.macAddress, after.macAddress],
    ['up', before.isUp, after.isUp],
  ] as const;
  return {
    changed: pairs.flatMap(([what, old, now]) => (old === now ? [] : [`${what} ${old} to ${now}`])),
    lostAddresses: before.addresses.filter((each) => !after.addresses.includes(each)),
    newAddresses: after.addresses.filter((each) => !before.addresses.includes(each)),
  };
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
