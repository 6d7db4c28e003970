// Protects what a forwarder may make of a wire that it believes to carry: what is there is completed unasked; an interface of a
// workload is made anew only by the manager's word, or for the very workload while there is none; and what was made
// without it goes again where the manager, asked later, insists that it holds no such connection.

import { beforeEach, describe, expect, it } from 'vitest';
import type { NamespaceIdentities } from '../../../actors/connection/hop.ts';
import {
  type Completion,
  createCompletion,
  notHeldRule,
} from '../../../actors/forwarder/completion.ts';
import { createSimulatedDataplane } from '../../../dataplane/simulated/simulated.ts';
import { SimulatedWorld } from '../../../dataplane/simulated/simulated-world.ts';
import { NsmError } from '../../../protocols/errors.ts';
import {
  type Dataplane,
  namespaceRules,
  takenOverRule,
  type Wire,
} from '../../../protocols/ports/dataplane.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { createManualClock, type ManualClock } from '../../sandbox/manual-clock.ts';
import { localWire } from '../../sandbox/wires.ts';

const budget = { timeoutMs: 1_000 };
const owner = 'i f';

let clock: ManualClock;
let world: SimulatedWorld;
let dataplane: Dataplane;
let completion: Completion;
let manager: 'holds it' | 'denies it' | 'is away';
let asked: number;

beforeEach(() => {
  clock = createManualClock();
  world = new SimulatedWorld();
  dataplane = planeOf('f');
  [manager, asked] = ['holds it', 0];
  completion = createCompletion({
    dataplane,
    clock,
    log: silentLog,
    namespaces: world,
    isHeld: async () => {
      asked += 1;
      if (manager === 'is away') throw new NsmError('UNAVAILABLE', 'nobody is there');
      return manager === 'holds it';
    },
  });
});

const planeOf = (forwarder: string) =>
  createSimulatedDataplane({ world, clock, installation: 'i', forwarder });

const clientNetns = 'inode://4/1';
const wire: Wire = localWire({ client: clientNetns, endpoint: 'inode://4/2' }, 1, 'w');

async function made(): Promise<NamespaceIdentities> {
  await dataplane.ensure(wire, budget);
  return completion.identify(wire);
}

/** Somebody takes the client's interface away. */
const deleteClient = () => world.deleteEnd(owner, 'w', 'client');
const outcome = (known: NamespaceIdentities | undefined): Promise<string> =>
  completion.complete(wire, known, budget).then(
    () => 'completed',
    (error: NsmError) => `${error.code} ${error.details.rule}`,
  );
/** The manager has been away for long enough. */
async function manageless(known: NamespaceIdentities | undefined): Promise<string> {
  manager = 'is away';
  expect(await outcome(known)).toBe(`UNAVAILABLE ${notHeldRule}`);
  await clock.advance(1_000);
  return outcome(known);
}
const isWhole = async () => (await dataplane.inspect('w', budget)).length === 0;

describe('a wire of which something is missing', () => {
  it('is completed unasked where both interfaces are there', async () => {
    const known = await made();
    world.unjoin(owner, 'w');
    manager = 'denies it';
    expect([await outcome(known), await isWhole(), asked]).toEqual(['completed', true, 0]);
  });

  it.each([
    ['holds it', 'known', 'completed'],
    ['holds it', 'unknown', 'completed'],
    ['denies it', 'known', `NOT_FOUND ${notHeldRule}`],
    ['denies it', 'unknown', `NOT_FOUND ${notHeldRule}`],
    ['is away', 'known', 'completed'],
    ['is away', 'unknown', `UNAVAILABLE ${notHeldRule}`],
  ] as const)('the manager %s, its workloads are %s: %s', async (says, workloads, expected) => {
    const known = await made();
    deleteClient();
    manager = says;
    const shown = workloads === 'known' ? known : undefined;
    expect(await (says === 'is away' ? manageless(shown) : outcome(shown))).toBe(expected);
    expect(await isWhole()).toBe(expected === 'completed');
  });

  it.each(['holds it', 'denies it', 'is away'] as const)(
    'gets no interface in the namespace of a stranger: the manager %s',
    async (says) => {
      const known = await made();
      world.removeNamespace(clientNetns);
      world.reuseNamespace(clientNetns);
      manager = says;
      expect(await outcome(known)).toBe(`NOT_FOUND ${namespaceRules.client}`);
      expect(world.interfaceIn(clientNetns, 'nsm-1')).toBeUndefined();
    },
  );

  it('finds another forwarder’s interface in its place while the manager is away', async () => {
    const known = await made();
    const replaces = { forwarder: 'f', id: 'w' };
    await planeOf('g').ensure({ ...wire, id: 'next', replaces }, budget);
    expect(await manageless(known)).toBe(`ALREADY_EXISTS ${takenOverRule}`);
  });

  it('asks a manager that is away twice a second for all wires', async () => {
    const known = await made();
    deleteClient();
    manager = 'is away';
    for (let each = 0; each < 10; each += 1) await outcome(known);
    expect(asked).toBe(1);
    await clock.advance(500);
    for (let each = 0; each < 10; each += 1) await outcome(known);
    expect(asked).toBe(2);
  });

  it('waits again for a manager that has been back meanwhile', async () => {
    const known = await made();
    deleteClient();
    expect(await manageless(known)).toBe('completed');
    manager = 'holds it';
    await clock.advance(1_000);
    deleteClient();
    expect(await outcome(known)).toBe('completed');
    deleteClient();
    expect(await manageless(known)).toBe('completed');
  });
});

describe('what was made without the word of the manager', () => {
  beforeEach(async () => {
    const known = await made();
    deleteClient();
    await manageless(known);
    await clock.advance(1_000);
    asked = 0;
  });

  it('is over once that denies it twice in a row', async () => {
    expect(await completion.review()).toEqual([]);
    await clock.advance(1_000);
    manager = 'denies it';
    expect(await completion.review()).toEqual([]);
    expect(await completion.review()).toEqual(['w']);
    expect(await completion.review()).toEqual([]);
  });

  it('stays where the manager holds it, and is asked about no more', async () => {
    manager = 'holds it';
    expect(await completion.review()).toEqual([]);
    manager = 'denies it';
    for (let each = 0; each < 3; each += 1) expect(await completion.review()).toEqual([]);
    expect(asked).toBe(1);
  });

  it('stays where its client comes back through a manager without a memory', async () => {
    manager = 'denies it';
    expect(await completion.review()).toEqual([]);
    completion.settled('w');
    expect(await completion.review()).toEqual([]);
    expect(await isWhole()).toBe(true);
  });
});
