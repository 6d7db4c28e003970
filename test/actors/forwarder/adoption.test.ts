// Protects what a forwarder finds at its start: what the journal intends is adopted and completed, what is over is
// removed, and what nothing explains stays untouched until a refresh claims it or no expiry can still hold it.

import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type ConnectionTable,
  createConnectionTable,
  type Intent,
} from '../../../actors/connection/connection-table.ts';
import { adoptWires } from '../../../actors/forwarder/adoption.ts';
import { type Completion, createCompletion } from '../../../actors/forwarder/completion.ts';
import { createQuarantine } from '../../../actors/forwarder/quarantine.ts';
import { createVniTable, type VniTable } from '../../../actors/forwarder/vni-table.ts';
import { ownKeyName } from '../../../actors/forwarder/tunnel-ends.ts';
import { createTunnelPorts, type TunnelPorts } from '../../../actors/forwarder/tunnel-ports.ts';
import { createSimulatedDataplane } from '../../../dataplane/simulated/simulated.ts';
import { SimulatedWorld } from '../../../dataplane/simulated/simulated-world.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { ConnectionContextSchema } from '../../../protocols/nsm/gen/connectioncontext_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import { wireguardMechanism } from '../../../protocols/nsm/wireguard-mechanism.ts';
import { vxlanMechanism } from '../../../protocols/nsm/vxlan-mechanism.ts';
import type { Dataplane, Wire } from '../../../protocols/ports/dataplane.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { createMemoryJournal } from '../../../transports/journal/memory-journal.ts';
import { createManualClock, type ManualClock } from '../../sandbox/manual-clock.ts';
import { wireOf } from '../../../actors/forwarder/wire-of.ts';
import { connectionAt } from '../connection/hop-request.ts';

const quarantineMs = 600_000;
const budget = { timeoutMs: 1_000 };

let clock: ManualClock;
let world: SimulatedWorld;
let vnis: VniTable;
let tunnelPorts: TunnelPorts;
let table: ConnectionTable;
let dataplane: Dataplane;
let journal: ReturnType<typeof createMemoryJournal>;
let keepsExpired: boolean;
/** What the manager says; undefined: it cannot be asked. */
let isHeld: boolean | undefined;

beforeEach(() => {
  clock = createManualClock();
  world = new SimulatedWorld();
  vnis = createVniTable();
  tunnelPorts = createTunnelPorts({ first: 61_000, last: 61_003 });
  journal = createMemoryJournal();
  keepsExpired = false;
  isHeld = true;
  table = newTable();
  dataplane = newDataplane();
});

const newTable = () =>
  createConnectionTable({ journal, clock, bootId: 'b', lifetimeMsMax: 600_000, log: silentLog });
const newDataplane = () =>
  createSimulatedDataplane({ world, clock, installation: 'i', forwarder: 'f' });

/** Each connection's client has a namespace of its own. */
const netnsOf = (id: string) => `inode://4/${Number.parseInt(id, 36)}`;

function intent(id: string, change: Partial<Intent> = {}): Intent {
  const mechanism = kernelMechanism({ netnsUrl: netnsOf(id), interfaceName: 'nsm-1' });
  const context = create(ConnectionContextSchema, { ipContext: { srcIpAddrs: ['10.0.0.1/32'] } });
  const onwardMechanism = kernelMechanism({ netnsUrl: 'inode://5/1', interfaceName: `e-${id}` });
  return {
    connection: connectionAt(1, ['nsmgr', 'forwarder'], { id, mechanism, context, payload: 'IP' }),
    preferences: [],
    memory: { nextUrl: 'memory:next', nextName: 'nse', onwardMechanism },
    closeAtMs: 100_000,
    established: true,
    ...change,
  };
}

/** As an earlier life left it: recorded, and in the data plane. */
async function leave(left: Intent, parts: { recorded?: boolean; made?: boolean } = {}) {
  const { recorded = true, made = true } = parts;
  const wire = wireIn(left);
  const namespaces = completionOf(dataplane).identify(wire);
  if (made) await dataplane.ensure(wire, budget);
  if (recorded) await table.put({ ...left, memory: { ...left.memory, namespaces } });
}

function wireIn({ connection, memory }: Intent): Wire {
  const ends = { client: connection.mechanism, onward: memory.onwardMechanism };
  return wireOf({ answer: connection, ...ends, hop: 'f' });
}

function setupOf(plane: Dataplane) {
  const shared = { table, dataplane: plane, clock, log: silentLog, wireTimeoutMs: 1_000 };
  const quarantine = createQuarantine({ ...shared, quarantineMs });
  const completion = completionOf(plane);
  return { ...shared, name: 'f', completion, vnis, tunnelPorts, quarantine, keepsExpired };
}

function completionOf(plane: Dataplane): Completion {
  return createCompletion({
    dataplane: plane,
    clock,
    log: silentLog,
    namespaces: world,
    isHeld: async () => {
      if (isHeld === undefined) throw new NsmError('UNAVAILABLE', 'the manager is away');
      return isHeld;
    },
  });
}

async function adopt() {
  table = newTable();
  dataplane = newDataplane();
  const setup = setupOf(dataplane);
  const adoption = await adoptWires(setup);
  const { quarantine } = setup;
  const { intents, incomplete } = await adoption.finished;
  return {
    adopted: intents,
    incomplete,
    quarantine,
    quarantined: () => quarantine.ids(),
    close() {
      adoption.close();
      quarantine.close();
    },
  };
}

const wires = async () => (await dataplane.list(budget)).map(({ id }) => id).toSorted();
const adoptedIds = ({ adopted }: { readonly adopted: readonly Intent[] }) =>
  adopted.map(({ connection, established }) => [connection.id, established]);

describe('adoption', () => {
  it('takes up what is intended and there, the same interface', async () => {
    await leave(intent('a'));
    const index = world.interfaceIn(netnsOf('a'), 'nsm-1')?.index;
    const adoption = await adopt();
    expect(adoptedIds(adoption)).toEqual([['a', true]]);
    expect(adoption.quarantined()).toEqual([]);
    expect(world.interfaceIn(netnsOf('a'), 'nsm-1')?.index).toBe(index);
    expect(clock.pendingTimers).toBe(0);
  });

  it('makes what is intended and missing, where the manager holds it', async () => {
    await leave(intent('a'), { made: false });
    expect(adoptedIds(await adopt())).toEqual([['a', true]]);
    expect(world.objectCount()).toBe(2);
  });

  it('makes nothing that is missing and that the manager does not hold, and closes behind it', async () => {
    isHeld = false;
    await leave(intent('a'), { made: false });
    expect(adoptedIds(await adopt())).toEqual([['a', false]]);
    expect(world.objectCount()).toBe(0);
  });

  it('keeps what stands, whatever the manager says: one that has lost its memory denies what lives', async () => {
    isHeld = false;
    await leave(intent('a'));
    const index = world.interfaceIn(netnsOf('a'), 'nsm-1')?.index;
    expect(adoptedIds(await adopt())).toEqual([['a', true]]);
    expect(world.interfaceIn(netnsOf('a'), 'nsm-1')?.index).toBe(index);
  });

  it('waits with what it cannot know while the manager is away', async () => {
    isHeld = undefined;
    await leave(intent('a'), { made: false });
    const adoption = await adopt();
    expect([adoptedIds(adoption), adoption.incomplete]).toEqual([[['a', true]], ['a']]);
    expect(world.objectCount()).toBe(0);
  });

  it.each([true, undefined])(
    'makes nothing for a stranger at the old number, held %s',
    async (held) => {
      isHeld = held;
      await leave(intent('a'));
      world.removeNamespace(netnsOf('a'));
      world.reuseNamespace(netnsOf('a'));
      expect(adoptedIds(await adopt())).toEqual([['a', false]]);
      expect(world.objectCount()).toBe(0);
      expect(world.interfaceIn(netnsOf('a'), 'nsm-1')).toBeUndefined();
    },
  );

  it('finds out that a namespace is gone while the manager is away', async () => {
    isHeld = undefined;
    await leave(intent('a'));
    world.removeNamespace(netnsOf('a'));
    expect(adoptedIds(await adopt())).toEqual([['a', false]]);
  });

  it('removes what expired meanwhile, and forgets it', async () => {
    await leave(intent('a', { closeAtMs: 5_000 }));
    await clock.advance(5_000);
    expect(adoptedIds(await adopt())).toEqual([]);
    expect(world.objectCount()).toBe(0);
    expect((await journal.load()).size).toBe(0);
  });

  it('removes what was never finished, and still tells the next hop', async () => {
    await leave(intent('a', { established: false }));
    expect(adoptedIds(await adopt())).toEqual([['a', false]]);
    expect(world.objectCount()).toBe(0);
  });

  it('closes behind a wire whose namespace is gone', async () => {
    await leave(intent('a'));
    await leave(intent('b'));
    world.removeNamespace(netnsOf('a'));
    expect(adoptedIds(await adopt())).toEqual([
      ['a', false],
      ['b', true],
    ]);
    expect(await wires()).toEqual(['b']);
  });

  it('closes behind a wire that another forwarder has taken over, which stays whole there', async () => {
    const left = intent('a');
    await leave(left);
    const interfaceOfA = () => world.interfaceIn(netnsOf('a'), 'nsm-1');
    const before = interfaceOfA();
    const other = createSimulatedDataplane({ world, clock, installation: 'i', forwarder: 'g' });
    const replaces = { forwarder: 'f', id: 'a' };
    await other.ensure({ ...wireIn(left), id: 'next', replaces }, budget);
    expect(adoptedIds(await adopt())).toEqual([['a', false]]);
    expect(await wires()).toEqual([]);
    expect(await other.list(budget)).toMatchObject([{ id: 'next', complete: true }]);
    expect(interfaceOfA()).toEqual(before);
  });

  it('keeps the interface of a client whose Endpoint alone is gone', async () => {
    await leave(intent('a'));
    const index = world.interfaceIn(netnsOf('a'), 'nsm-1')?.index;
    world.removeNamespace('inode://5/1');
    expect(adoptedIds(await adopt())).toEqual([['a', true]]);
    expect(index).toBeDefined();
    expect(world.interfaceIn(netnsOf('a'), 'nsm-1')?.index).toBe(index);
  });

  it('says at once what there is, and looks after many wires at the same time', async () => {
    const ids = Array.from({ length: 100 }, (_, index) => `w${index}`);
    for (const id of ids) await leave(intent(id));
    let atWork = 0;
    let atWorkMost = 0;
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    table = newTable();
    const simulated = newDataplane();
    const slow: Dataplane = {
      ...simulated,
      kind: simulated.kind,
      list: (...args) => simulated.list(...args),
      remove: (...args) => simulated.remove(...args),
      async ensure(...args) {
        atWork += 1;
        atWorkMost = Math.max(atWork, atWorkMost);
        await held;
        await simulated.ensure(...args);
        atWork -= 1;
      },
    };
    const adoption = await adoptWires(setupOf(slow));
    release();
    expect((await adoption.finished).intents).toHaveLength(100);
    expect(atWorkMost).toBeGreaterThan(8);
    expect(atWorkMost).toBeLessThan(65);
  });

  it('closes behind a wire that could not be removed', async () => {
    await leave(intent('a', { closeAtMs: 5_000 }));
    await clock.advance(5_000);
    table = newTable();
    const simulated = newDataplane();
    const failing: Dataplane = {
      ...simulated,
      kind: simulated.kind,
      list: (...args) => simulated.list(...args),
      remove: () => Promise.reject(new Error('no buffer space')),
    };
    const adoption = await adoptWires(setupOf(failing));
    expect(adoptedIds({ adopted: (await adoption.finished).intents })).toEqual([['a', false]]);
    expect((await journal.load()).size).toBe(1);
  });

  it('says where clients of what is over may have policies left', async () => {
    const policed = intent('a', { closeAtMs: 5_000 });
    const context = create(ConnectionContextSchema, {
      ipContext: { policies: [{ from: '172.16.2.200/32' }] },
    });
    await leave({ ...policed, connection: { ...policed.connection, context } });
    await leave(intent('b', { closeAtMs: 5_000 }));
    await clock.advance(5_000);
    table = newTable();
    const simulated = newDataplane();
    const told: unknown[] = [];
    const telling: Dataplane = {
      ...simulated,
      kind: simulated.kind,
      list: (...args) => simulated.list(...args),
      remove: (ids, within, namespaces) => {
        told.push(ids, namespaces);
        return simulated.remove(ids, within);
      },
    };
    await (await adoptWires(setupOf(telling))).finished;
    expect(told).toEqual([['a', 'b'], new Map([['a', netnsOf('a')]])]);
  });

  it('leaves what expired meanwhile to its connection where that may be kept', async () => {
    keepsExpired = true;
    await leave(intent('a', { closeAtMs: 5_000 }));
    await clock.advance(5_000);
    expect(adoptedIds(await adopt())).toEqual([['a', true]]);
    expect(world.objectCount()).toBe(2);
  });

  it('takes the VNIs of what it adopts', async () => {
    const mechanism = vxlanMechanism({ srcIp: '10.9.0.2', dstIp: '10.9.0.1', vni: 77 });
    const tunneled = intent('a');
    await leave({ ...tunneled, connection: { ...tunneled.connection, mechanism } });
    await adopt();
    expect(vnis.of('a')).toBe(77);
  });

  it('takes the ports of its WireGuard tunnels: its own at each side, and whether they can be made or not', async () => {
    const ports = { srcPort: 61_001, dstPort: 61_002 };
    const mechanism = wireguardMechanism({ srcIp: '10.9.0.2', dstIp: '10.9.0.1', ...ports });
    const onwardMechanism = wireguardMechanism({ ...ports, srcIp: '10.9.0.1', dstIp: '10.9.0.3' });
    const { connection, memory, ...rest } = intent('a');
    const left = {
      ...rest,
      connection: { ...connection, mechanism },
      memory: { ...memory, nextName: 'nse', onwardMechanism },
    };
    await table.put(left);
    await adopt();
    expect(tunnelPorts.of('a', ownKeyName('a', 'client'))).toBe(61_002);
    expect(tunnelPorts.of('a', ownKeyName('a', 'endpoint', 'nse'))).toBe(61_001);
  });
});

describe('a wire that no intent explains', () => {
  it('stays untouched and visible until no expiry can still hold it', async () => {
    await leave(intent('lost'), { recorded: false });
    const adoption = await adopt();
    expect(adoption.quarantined()).toEqual(['lost']);
    await clock.advance(quarantineMs - 1);
    expect(await wires()).toEqual(['lost']);
    await clock.advance(1);
    expect(await wires()).toEqual([]);
    expect(adoption.quarantined()).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is no longer in quarantine once a refresh has claimed it', async () => {
    await leave(intent('lost'), { recorded: false });
    await leave(intent('gone'), { recorded: false });
    const adoption = await adopt();
    await table.put(intent('lost'));
    expect(adoption.quarantined()).toEqual(['gone']);
    await clock.advance(quarantineMs);
    expect(await wires()).toEqual(['lost']);
  });

  it.each(['client', 'endpoint'] as const)(
    'is removed once the namespace of its %s is gone',
    async (side) => {
      await leave(intent('lost'), { recorded: false });
      await leave(intent('a'));
      const adoption = await adopt();
      const unwatch = dataplane.watch((event) => {
        if (event.kind === 'namespaceGone') adoption.quarantine.onNamespaceGone(event.wireId);
      });
      world.removeNamespace(side === 'client' ? netnsOf('lost') : 'inode://5/1');
      await clock.advance(100);
      unwatch();
      expect(adoption.quarantined()).toEqual([]);
      expect(await wires()).toEqual(['a']);
      adoption.close();
    },
  );

  it('is left alone by a forwarder that stops before', async () => {
    await leave(intent('lost'), { recorded: false });
    (await adopt()).close();
    await clock.advance(2 * quarantineMs);
    expect(await wires()).toEqual(['lost']);
  });

  it('is never another forwarder’s or installation’s', async () => {
    const foreign = createSimulatedDataplane({ world, clock, installation: 'i', forwarder: 'g' });
    const { connection, memory } = intent('foreign');
    const ends = { client: connection.mechanism, onward: memory.onwardMechanism };
    await foreign.ensure(wireOf({ answer: connection, ...ends, hop: 'g' }), budget);
    expect((await adopt()).quarantined()).toEqual([]);
    await clock.advance(quarantineMs);
    expect(world.objectCount()).toBe(2);
  });
});
