// What is done to a simulated mesh in one run, drawn from its seed: a shape, and a list of operations with their times.
// An operation stands for itself, so that a failing run is shrunk by leaving operations out.

import { randomOf, type SeededRandom } from '../sandbox/seeded-random.ts';
import { nodeLeaseMsDefault } from '../../protocols/nsm/node-lease.ts';
import type { Disturbance } from './links.ts';

export interface Shape {
  readonly nodes: number;
  readonly lifetimeMs: number;
  /** Rarely as short as by default: each renewal costs as much as any call. */
  readonly nodeLeaseMs?: number;
  /** Clients ping the other end of their wires. */
  readonly probes?: boolean;
  /** Managers, forwarders and Endpoints keep what nobody refreshes while it is alive. */
  readonly keeps?: boolean;
  /** Each node has two forwarders. */
  readonly twins?: boolean;
  /** Per service: the nodes of its Endpoints, by index. */
  readonly services: Readonly<Record<string, readonly number[]>>;
  /** Node and service of each client. */
  readonly clients: readonly { readonly node: number; readonly service: string }[];
}

/** Which process: an index into those of its kind, taken modulo their number. */
export type Which =
  | { readonly kind: 'registry' }
  | { readonly kind: 'manager' | 'forwarder' | 'endpoint' | 'client'; readonly index: number };

export type Operation = { readonly atMs: number } & (
  | {
      /** kill -9, at once or before its so manieth step from then; started again after `downMs`. */
      readonly do: 'kill';
      readonly which: Which;
      readonly steps: number;
      readonly ending: 'reset' | 'silent';
      readonly downMs: number;
    }
  | { readonly do: 'restart'; readonly which: Which; readonly downMs: number }
  /** Nothing passes between two places: nodes by index, -1 for the registry's. */
  | {
      readonly do: 'cut';
      readonly from: number;
      readonly to: number;
      readonly isOneWay: boolean;
      readonly forMs: number;
    }
  | {
      readonly do: 'disturb';
      readonly from: number;
      readonly to: number;
      readonly disturbance: Disturbance;
      readonly forMs: number;
    }
  | {
      readonly do: 'stepWall';
      readonly place: number;
      readonly byMs: number;
      readonly forMs: number;
    }
  | {
      readonly do: 'dataplane';
      readonly node: number;
      readonly fault: 'fail' | 'crash' | 'slow';
      readonly chance: number;
      readonly forMs: number;
    }
  /** Somebody else takes a part of each wire of a machine away. */
  | { readonly do: 'harm'; readonly node: number; readonly part: 'joint' | 'endpoint' }
  | {
      readonly do: 'diskFull';
      readonly node: number;
      readonly of: 'manager' | 'forwarder';
      readonly forMs: number;
    }
  | { readonly do: 'destroyPod'; readonly which: Which }
  /** The Endpoint's control plane lives, and no packet is answered. */
  | { readonly do: 'deafen'; readonly index: number; readonly forMs: number }
  /** The registry's store loses everything; the registry itself lives on. */
  | { readonly do: 'loseStore' }
  /** A machine with all that runs on it; its disks stay. */
  | { readonly do: 'reboot'; readonly node: number; readonly downMs: number }
  | { readonly do: 'addClient'; readonly node: number; readonly service: number }
  | { readonly do: 'addEndpoint'; readonly node: number; readonly service: number }
  | { readonly do: 'closeClient'; readonly index: number; readonly backAfterMs: number }
);

export interface Plan {
  readonly seed: number;
  readonly shape: Shape;
  readonly operations: readonly Operation[];
}

/** Faults begin and end within this time. */
export const faultyMs = 60_000;

export function planOf(seed: number): Plan {
  const random = randomOf(seed, 'plan');
  // A stream of its own, so that it changes nothing else of a seed.
  const keeps = randomOf(seed, 'expiry').chance(1 / 8);
  const pair = randomOf(seed, 'forwarders');
  const twins = pair.chance(1 / 4);
  const shape = { ...shapeOf(random), ...(keeps && { keeps }), ...(twins && { twins }) };
  const count = 2 + random.integer(11);
  const operations: Operation[] = [];
  let lastMs = 0;
  for (let each = 0; each < count; each += 1) {
    // Faults come in bursts: the second one tends to meet what the first one has left.
    const atMs = random.chance(0.5)
      ? Math.min(faultyMs, lastMs + random.between(0, 3_000))
      : random.between(0, faultyMs * 0.9);
    lastMs = atMs;
    operations.push(operationAt(random, shape, Math.round(atMs * 100) / 100));
  }
  if (twins) {
    const gentle = operations.filter(mayMeetTakingOver);
    operations.splice(0, operations.length, ...gentle, ...absence(pair));
  }
  return { seed, shape, operations: operations.toSorted((left, right) => left.atMs - right.atMs) };
}

/**
 * A forwarder or a manager that ends in the middle of a taking over has the interface made anew (decision 34), which is no
 * failure, and would hide others.
 */
function mayMeetTakingOver(operation: Operation): boolean {
  return operation.do !== 'dataplane' && !(operation.do === 'kill' && operation.steps > 0);
}

/** A forwarder is away for so long that its wires move, and comes back when some of their clients may have left. */
function absence(random: SeededRandom): readonly Operation[] {
  const index = random.integer(6);
  const atMs = Math.round(random.between(2_000, 6_000));
  const leave = (): Operation => ({
    atMs: atMs + Math.round(random.between(6_000, 18_000)),
    do: 'closeClient',
    index: random.integer(4),
    backAfterMs: faultyMs,
  });
  const downMs = Math.round(random.between(20_000, 52_000));
  const kind = random.pick(['manager', 'manager', 'client'] as const);
  return [
    { atMs, do: 'kill', which: { kind: 'forwarder', index }, steps: 0, ending: 'silent', downMs },
    leave(),
    leave(),
    {
      atMs: atMs + Math.round(random.between(12_000, 50_000)),
      do: 'kill',
      which: { kind, index: random.integer(6) },
      steps: 0,
      ending: 'reset',
      downMs: Math.round(random.between(100, 4_000)),
    },
  ];
}

function shapeOf(random: SeededRandom): Shape {
  const nodes = 1 + random.integer(3);
  const someNode = (): number => random.integer(nodes);
  const endpoints = (): number[] => Array.from({ length: 1 + random.integer(3) }, someNode);
  const services: Record<string, readonly number[]> = { red: endpoints() };
  if (random.chance(0.5)) services['blue'] = endpoints();
  const names = Object.keys(services);
  const clients = Array.from({ length: 1 + random.integer(4) }, () => ({
    node: someNode(),
    service: random.pick(names),
  }));
  const probes = random.chance(0.4);
  const nodeLeaseMs = random.pick([nodeLeaseMsDefault, 20_000, 20_000, 60_000]);
  const lifetimeMs = random.pick([60_000, 60_000, 120_000, 120_000, 120_000, 600_000]);
  return { nodes, lifetimeMs, nodeLeaseMs, probes, services, clients };
}

function operationAt(random: SeededRandom, shape: Shape, atMs: number): Operation {
  const dice = random.integer(100);
  const node = (): number => random.integer(shape.nodes);
  const place = (): number => random.integer(shape.nodes + 1) - 1;
  const forMs = Math.round(random.pick([200, 2_000, 8_000, 25_000]) * random.between(0.2, 1));
  if (dice < 30) {
    return {
      atMs,
      do: 'kill',
      which: whichOf(random),
      steps: random.chance(0.3) ? 0 : 1 + random.integer(random.pick([4, 20, 60])),
      ending: random.chance(0.5) ? 'reset' : 'silent',
      downMs: forMs,
    };
  }
  if (dice < 42) return { atMs, do: 'restart', which: whichOf(random), downMs: forMs };
  if (dice < 55) {
    return { atMs, do: 'cut', from: place(), to: place(), isOneWay: random.chance(0.3), forMs };
  }
  if (dice < 67) {
    const disturbance: Disturbance = {
      loss: random.pick([0, 0.05, 0.3]),
      doubled: random.pick([0, 0.1, 0.5]),
      late: random.pick([0, 0.2, 0.6]),
      lateMs: random.pick([50, 1_000, 20_000]),
    };
    return { atMs, do: 'disturb', from: place(), to: place(), disturbance, forMs };
  }
  return rareOperation(random, { dice, atMs, forMs, node });
}

function rareOperation(
  random: SeededRandom,
  { dice, atMs, forMs, node }: { dice: number; atMs: number; forMs: number; node: () => number },
): Operation {
  if (dice < 77) {
    const fault = random.pick(['fail', 'crash', 'slow'] as const);
    return { atMs, do: 'dataplane', node: node(), fault, chance: random.pick([0.1, 0.5]), forMs };
  }
  if (dice < 80) {
    const of = random.pick(['manager', 'forwarder'] as const);
    return { atMs, do: 'diskFull', node: node(), of, forMs };
  }
  if (dice < 84) {
    const byMs = random.pick([-3_600_000, 3_600_000]);
    return { atMs, do: 'stepWall', place: random.integer(2) === 0 ? -1 : node(), byMs, forMs };
  }
  if (dice < 88) {
    const kind = random.pick(['endpoint', 'client'] as const);
    return { atMs, do: 'destroyPod', which: { kind, index: random.integer(8) } };
  }
  if (dice < 90) return { atMs, do: 'deafen', index: random.integer(8), forMs };
  if (dice < 92) return { atMs, do: 'reboot', node: node(), downMs: forMs };
  if (dice < 93) return { atMs, do: 'loseStore' };
  if (dice < 95) return { atMs, do: 'addClient', node: node(), service: random.integer(2) };
  if (dice < 97) return { atMs, do: 'addEndpoint', node: node(), service: random.integer(2) };
  if (dice < 98) {
    return { atMs, do: 'harm', node: node(), part: random.pick(['joint', 'endpoint'] as const) };
  }
  return { atMs, do: 'closeClient', index: random.integer(8), backAfterMs: forMs };
}

function whichOf(random: SeededRandom): Which {
  const kind = random.pick([
    'registry',
    'manager',
    'forwarder',
    'forwarder',
    'endpoint',
    'client',
  ] as const);
  return kind === 'registry' ? { kind } : { kind, index: random.integer(8) };
}
