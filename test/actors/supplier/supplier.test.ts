// Protects what a supplier answers and when it starts anything: once per name, never beside what is left of the last
// one, out of the registry first, with pauses after bad ends, and with what an earlier life started taken up.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ActorRef } from '../../../actors/runtime/api.ts';
import {
  type Supply,
  supplierBehavior,
  type SupplierMessage,
} from '../../../actors/supplier/supplier.ts';
import { asNsmError, type NsmError } from '../../../protocols/errors.ts';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import { FakeSupplier } from '../../sandbox/fake-supplier.ts';
import { createGate } from '../../sandbox/gate.ts';
import { type Fixture, fixture } from '../runtime/fixture.ts';
import { turns } from '../runtime/turns.ts';

let actors: Fixture;
let done: string[];
let begin: (name: string) => Promise<() => Promise<void>>;
let unregister: (name: string) => Promise<void>;
let supplier: FakeSupplier;
let ref: ActorRef<SupplierMessage>;

beforeEach(() => {
  actors = fixture();
  done = [];
  begin = async () => async () => {};
  unregister = async () => {};
  supplier = new FakeSupplier({
    nameFor: ({ id }) => id,
    begin: (name) => {
      done.push(`start ${name}`);
      return begin(name);
    },
  });
  const remove = supplier.remove.bind(supplier);
  supplier.remove = (name) => {
    done.push(`remove ${name}`);
    return remove(name);
  };
  spawn();
});

afterEach(() => actors.end());

function spawn(endpointsMax = 2, name = 'supplier'): void {
  const behavior = supplierBehavior({
    supplier,
    endpointsMax,
    unregister: (endpoint) => {
      done.push(`unregister ${endpoint}`);
      return unregister(endpoint);
    },
  });
  ref = actors.system.spawn(behavior, name);
}

function asked(id: string): Promise<Supply> {
  return actors.system.ask<SupplierMessage, Supply>(
    ref,
    (replyTo) => ({ type: 'supply', connection: create(ConnectionSchema, { id }), replyTo }),
    { timeoutMs: 5_000 },
  );
}

const refusal = async (id: string): Promise<NsmError> => {
  try {
    await asked(id);
  } catch (thrown) {
    return asNsmError(thrown);
  }
  throw new Error('nothing was refused');
};

it('starts one per name, and says so to all who asked while it did', async () => {
  const gate = createGate();
  gate.close();
  begin = async () => {
    await gate.pass();
    return async () => {};
  };
  const [one, two] = [asked('a'), asked('a')];
  await turns();
  gate.open();
  expect(await one).toEqual({ endpoint: { name: 'a', what: 'fake a' }, ageMs: 0 });
  expect(await two).toEqual(await one);
  await actors.clock.advance(300);
  expect((await asked('a')).ageMs).toBe(300);
  expect(done).toEqual(['start a']);
});

it('one that ended is out of the registry and removed before another is started', async () => {
  const gate = createGate();
  gate.close();
  unregister = () => gate.pass();
  await asked('a');
  await actors.clock.advance(60_000);
  await supplier.end('a');
  await turns();
  expect((await refusal('a')).details).toMatchObject({ rule: 'supply-busy', remedy: 'ask again' });
  gate.open();
  await turns();
  await asked('a');
  expect(done).toEqual(['start a', 'unregister a', 'remove a', 'start a']);
});

it('a registry that is away keeps nothing from being cleared', async () => {
  unregister = () => Promise.reject(new Error('away'));
  await asked('a');
  await actors.clock.advance(60_000);
  await supplier.end('a');
  await turns();
  expect(done).toContain('remove a');
  await asked('a');
});

it('what cannot be removed is tried again, and nothing is started meanwhile', async () => {
  const remove = supplier.remove.bind(supplier);
  supplier.remove = () => Promise.reject(new Error('the disk is full'));
  await asked('a');
  await actors.clock.advance(60_000);
  await supplier.end('a');
  await turns();
  expect((await refusal('a')).details.rule).toBe('supply-busy');
  supplier.remove = remove;
  await actors.clock.advance(2_000);
  await asked('a');
  expect(done.filter((each) => each.startsWith('start'))).toHaveLength(2);
});

describe('a bad end', () => {
  it('is followed by a pause, twice as long after the next, none after a good life', async () => {
    const pauses: number[] = [];
    for (const _ of [1, 2, 3]) {
      await asked('a');
      await supplier.end('a', 'exit code 1');
      await turns();
      const { details } = await refusal('a');
      expect(details.rule).toBe('supply-rest');
      pauses.push(Number(/in (\d+) ms/.exec(details.found ?? '')?.[1]));
      await actors.clock.advance(pauses.at(-1) ?? 0);
    }
    const [first = 0, second = 0, third = 0] = pauses;
    expect(second).toBeGreaterThan(first);
    expect(third).toBeGreaterThan(second);
    await asked('a');
    await actors.clock.advance(30_000);
    await supplier.end('a', 'exit code 1');
    await turns();
    expect((await refusal('a')).details.found).toMatch(/failed once, last with: exit code 1/);
  });

  it('counts as one where it is clean and comes at once', async () => {
    await asked('a');
    await supplier.end('a');
    await turns();
    expect((await refusal('a')).details.rule).toBe('supply-rest');
  });

  it('is forgotten when nobody asks, and makes room', async () => {
    for (const name of ['a', 'b']) {
      await asked(name);
      await supplier.end(name, 'signal SIGKILL');
    }
    await turns();
    expect((await refusal('c')).code).toBe('RESOURCE_EXHAUSTED');
    await actors.clock.advance(2_000);
    await asked('c');
  });
});

it('a start that fails is told to who asked, and not repeated at once', async () => {
  begin = () => Promise.reject(new Error('no such program'));
  expect((await refusal('a')).message).toBe('no such program');
  expect((await refusal('a')).details.rule).toBe('supply-rest');
  expect(done).toEqual(['start a']);
});

it('a template that does not fit the client is told, and starts nothing', async () => {
  supplier.nameFor = () => {
    throw new Error('lacks a label');
  };
  expect((await refusal('a')).message).toBe('lacks a label');
  expect(done).toEqual([]);
});

it('takes up what runs, and clears what ended, from a life before', async () => {
  await asked('a');
  await asked('b');
  // A life of the actor that is over, without a word.
  await actors.system.stop(1_000);
  actors = fixture();
  await supplier.end('b', 'signal SIGKILL');
  spawn();
  await turns();
  await actors.clock.advance(1_000);
  expect((await asked('a')).endpoint.name).toBe('a');
  await asked('b');
  expect(done).toEqual(['start a', 'start b', 'unregister b', 'remove b', 'start b']);
});
