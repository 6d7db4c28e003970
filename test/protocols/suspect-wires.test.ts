// Protects what data planes tell of damage: only what a look confirms, once until it is mended, never of a wire that is
// not known any more or whose holder is at work on it, and with one look per wire however often it becomes suspect.

import { expect, it } from 'vitest';
import type { DataplaneEvent } from '../../protocols/ports/dataplane.ts';
import { SuspectWires } from '../../protocols/suspect-wires.ts';
import { createWireLocks } from '../../protocols/wire-locks.ts';

function setUp() {
  const locks = createWireLocks();
  const missing: string[] = [];
  const looks: string[] = [];
  const told: DataplaneEvent[] = [];
  const wires = new SuspectWires({
    locks,
    inspect: (id) => {
      looks.push(id);
      return Promise.resolve([...missing]);
    },
    publish: (event) => told.push(event),
  });
  /** Every turn that is to be had under the locks has been had. */
  const settled = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  return { locks, missing, looks, told, wires, settled };
}

it('tells what a look confirms, once until the wire is ensured', async () => {
  const { missing, told, wires, settled } = setUp();
  wires.ensured('w');
  wires.suspect('w');
  await settled();
  expect(told).toEqual([]);
  missing.push('its flow');
  for (let time = 0; time < 2; time += 1) {
    wires.suspect('w');
    await settled();
  }
  expect(told).toEqual([{ kind: 'damaged', wireId: 'w', found: ['its flow'] }]);
  wires.ensured('w');
  wires.suspect('w');
  await settled();
  expect(told).toHaveLength(2);
});

it('looks once, however often a wire becomes suspect before the look', async () => {
  const { looks, wires, settled } = setUp();
  wires.listed('w', true);
  for (let time = 0; time < 3; time += 1) wires.suspect('w');
  await settled();
  expect(looks).toEqual(['w']);
});

it('has no news of a wire that is not known, or is removed before the look', async () => {
  const { missing, looks, told, wires, settled } = setUp();
  missing.push('everything');
  wires.suspect('w');
  await settled();
  expect(looks).toEqual([]);
  wires.ensured('w');
  wires.suspect('w');
  wires.forget('w');
  await settled();
  expect(told).toEqual([]);
});

it('takes a change under the wire’s lock for its holder’s', async () => {
  const { locks, looks, wires, settled } = setUp();
  wires.ensured('w');
  await locks.hold(['w'], () => {
    wires.changed('w');
    return Promise.resolve();
  });
  await settled();
  expect(looks).toEqual([]);
  wires.changed('w');
  await settled();
  expect(looks).toEqual(['w']);
});
