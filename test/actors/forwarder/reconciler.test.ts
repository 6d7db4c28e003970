// Protects what a forwarder does about harm: it repairs what an intent explains and nothing else, tells an end whose
// namespace is gone apart from one that can be repaired, goes on after a failure, and keeps to its pace.

import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type ConnectionTable,
  createConnectionTable,
} from '../../../actors/connection/connection-table.ts';
import { notHeldRule } from '../../../actors/forwarder/completion.ts';
import { createQuarantine, type Quarantine } from '../../../actors/forwarder/quarantine.ts';
import { createReconciler, type Reconciler } from '../../../actors/forwarder/reconciler.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  type Dataplane,
  namespaceRules,
  type ObservedWire,
  takenOverRule,
} from '../../../protocols/ports/dataplane.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { createManualClock, type ManualClock } from '../../sandbox/manual-clock.ts';
import { seededRandom } from '../runtime/fixture.ts';

const intervalMs = 30_000;

let clock: ManualClock;
let table: ConnectionTable;
let observed: readonly ObservedWire[] | Error;
let looks: number;
let repaired: string[];
let behave: (id: string) => readonly string[];
let gone: string[];
let taken: string[];
let denied: readonly string[];
let quarantine: Quarantine;
let reconciler: Reconciler;

beforeEach(() => {
  clock = createManualClock();
  const log = silentLog;
  table = createConnectionTable({ clock, bootId: 'b', lifetimeMsMax: 600_000, log });
  observed = [];
  looks = 0;
  repaired = [];
  [gone, taken] = [[], []];
  denied = [];
  behave = () => ['something'];
  const dataplane: Pick<Dataplane, 'list' | 'remove'> = {
    list: () => {
      looks += 1;
      return observed instanceof Error ? Promise.reject(observed) : Promise.resolve(observed);
    },
    remove: () => Promise.resolve(),
  };
  const shared = { table, clock, log, dataplane: dataplane as Dataplane };
  quarantine = createQuarantine({ ...shared, wireTimeoutMs: 1_000, quarantineMs: 600_000 });
  reconciler = createReconciler({
    ...shared,
    quarantine,
    random: seededRandom(1),
    intervalMs,
    lookTimeoutMs: 1_000,
    async repair(id) {
      repaired.push(id);
      return behave(id);
    },
    completion: { review: async () => denied },
    onOver: (id) => taken.push(id),
    onNamespaceGone: (id, side) => gone.push(`${id} ${side}`),
  });
});

const intend = (id: string, established = true) =>
  table.put({
    connection: create(ConnectionSchema, { id }),
    preferences: [],
    memory: {},
    closeAtMs: 1_000_000,
    established,
  });

const seen = (id: string, change: Partial<ObservedWire> = {}): ObservedWire => ({
  id,
  version: 1,
  complete: true,
  missing: [],
  readable: true,
  objects: [],
  ...change,
});

describe('damage that is told', () => {
  it('is repaired at once, and reported', async () => {
    await intend('a');
    reconciler.start();
    reconciler.onDamaged('a');
    await clock.advance(10);
    expect(repaired).toEqual(['a']);
    expect(reconciler.report()).toMatchObject({
      count: 1,
      last: { connectionId: 'a', found: ['something'] },
    });
  });

  it('before the adoption is over waits for it', async () => {
    await intend('a');
    reconciler.onDamaged('a');
    await clock.advance(1_000);
    expect(repaired).toEqual([]);
    reconciler.start();
    await clock.advance(10);
    expect(repaired).toEqual(['a']);
  });

  it.each([
    ['no intent explains', undefined],
    ['is not established yet, or over', false],
  ])('of a wire that %s is left alone', async (_, established) => {
    if (established !== undefined) await intend('a', established);
    reconciler.start();
    reconciler.onDamaged('a');
    await clock.advance(1_000);
    expect(repaired).toEqual([]);
  });

  it('that is none counts as no repair', async () => {
    await intend('a');
    behave = () => [];
    reconciler.start();
    reconciler.onDamaged('a');
    await clock.advance(1_000);
    expect(reconciler.report()).toEqual({ count: 0 });
  });

  it.each(['client', 'endpoint'] as const)(
    'of a wire whose %s has no namespace any more is told and not tried again',
    async (side) => {
      await intend('a');
      behave = () => {
        throw new NsmError('NOT_FOUND', 'no namespace', { rule: namespaceRules[side] });
      };
      reconciler.start();
      reconciler.onDamaged('a');
      await clock.advance(20_000);
      expect([repaired, gone]).toEqual([['a'], [`a ${side}`]]);
    },
  );

  it('of a wire that its manager holds no more is told, and the wire ends', async () => {
    await intend('a');
    behave = () => {
      throw new NsmError('NOT_FOUND', 'not held', { rule: notHeldRule });
    };
    reconciler.start();
    reconciler.onDamaged('a');
    await clock.advance(1_000);
    expect([repaired, taken]).toEqual([['a'], ['a']]);
  });

  it('is tried again where nobody can say whether the wire is wanted', async () => {
    await intend('a');
    behave = () => {
      throw new NsmError('UNAVAILABLE', 'nobody knows', { rule: notHeldRule });
    };
    reconciler.start();
    reconciler.onDamaged('a');
    await clock.advance(1_000);
    expect(repaired.length).toBeGreaterThan(1);
    expect(taken).toEqual([]);
  });

  it('of a wire that another forwarder has taken over is told and left to that one', async () => {
    await intend('a');
    behave = () => {
      throw new NsmError('ALREADY_EXISTS', 'taken over', { rule: takenOverRule });
    };
    reconciler.start();
    reconciler.onDamaged('a');
    await clock.advance(20_000);
    expect([repaired, taken]).toEqual([['a'], ['a']]);
  });

  it('that cannot be repaired is tried until it can, or until nobody wants the wire', async () => {
    await intend('a');
    await intend('b');
    behave = () => {
      throw new NsmError('UNAVAILABLE', 'no buffer space');
    };
    reconciler.start();
    for (const id of ['a', 'b']) reconciler.onDamaged(id);
    await clock.advance(5_000);
    const tries = repaired.length;
    expect(tries).toBeGreaterThan(6);
    await table.delete('b');
    behave = () => ['something'];
    await clock.advance(10_000);
    expect(repaired.slice(tries)).toEqual(['a']);
    expect(gone).toEqual([]);
  });
});

describe('a look over all wires', () => {
  it('comes again and again, with a pause, also after one that failed', async () => {
    observed = new NsmError('UNAVAILABLE', 'no netlink');
    reconciler.start();
    await clock.advance(10 * intervalMs);
    expect(looks).toBeGreaterThan(8);
    expect(looks).toBeLessThan(12);
    reconciler.close();
    await clock.advance(10 * intervalMs);
    expect(looks).toBeLessThan(12);
    expect(clock.pendingTimers).toBe(0);
  });

  it('repairs what is not whole or not there, and no other', async () => {
    for (const id of ['whole', 'harmed', 'absent', 'later']) await intend(id);
    await intend('half', false);
    observed = [
      seen('whole'),
      seen('harmed', { complete: false, missing: ['a link is gone'] }),
      seen('later', { complete: false, readable: false }),
      seen('half', { complete: false }),
      seen('stray', { complete: false }),
    ];
    reconciler.start();
    await clock.advance(1.2 * intervalMs);
    expect(repaired.toSorted()).toEqual(['absent', 'harmed']);
    expect(quarantine.ids()).toEqual([]);
    await clock.advance(1.2 * intervalMs);
    expect(quarantine.ids()).toEqual(['stray']);
    quarantine.close();
  });

  it('ends what its manager has denied', async () => {
    denied = ['a'];
    reconciler.start();
    await clock.advance(1.2 * intervalMs);
    expect(taken).toEqual(['a']);
    reconciler.close();
  });
});
