// Protects the driver's picture of VPP against answers that arrive out of step with what was asked: whatever was asked
// later wins, in whatever order the answers are taken in.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type FoundEnd, Inventory } from '../../../dataplane/vpp/inventory.ts';
import { createFakeVpp } from '../../sandbox/fake-vpp.ts';

const owner = { installation: 'ours', forwarder: 'first' };
const budget = { timeoutMs: 1_000 };

const emptyInventory = () => new Inventory({ vpp: createFakeVpp(), owner });

const end = (index: number, wireId: string): FoundEnd => ({
  index,
  name: `host-${wireId}`,
  text: 'tag',
  isUp: true,
  tag: { version: 1, wireId, side: 'client', link: 1, frames: 0 },
});

test('of several words on one interface the one that was asked for last counts', () => {
  const words = fc.array(fc.option(fc.constantFrom('a', 'b', 'c'), { nil: undefined }), {
    minLength: 1,
    maxLength: 6,
  });
  const shuffled = words.chain((list) =>
    fc
      .shuffledSubarray(
        list.map((_, at) => at),
        { minLength: list.length },
      )
      .map((order) => ({ list, order })),
  );
  fc.assert(
    fc.property(shuffled, ({ list, order }) => {
      const inventory = emptyInventory();
      const asked = list.map(() => inventory.asking());
      for (const at of order) {
        const wireId = list[at];
        inventory.seen(asked[at] ?? 0, 7, wireId === undefined ? undefined : end(7, wireId));
        inventory.joined(asked[at] ?? 0, 7, at);
      }
      const last = list.at(-1);
      expect(inventory.at(7)?.tag?.wireId).toBe(last);
      expect(inventory.wireIds()).toEqual(last === undefined ? [] : [last]);
      expect(inventory.jointOf(7)).toBe(list.length - 1);
    }),
  );
});

test('a look that was asked for before an interface was deleted does not bring it back', async () => {
  const vpp = createFakeVpp();
  const inventory = new Inventory({ vpp, owner });
  const made = vpp.change('create_loopback', {});
  const index = Number(made['sw_if_index']);
  const looking = inventory.look(budget);
  inventory.seen(inventory.asking(), index, undefined);
  await looking;
  expect(inventory.at(index)).toBeUndefined();
  await inventory.look(budget);
  expect(inventory.at(index)?.name).toBe('loop0');
});

test('nothing that was known of a VPP is taken for true of the next one', async () => {
  const vpp = createFakeVpp();
  const inventory = new Inventory({ vpp, owner });
  vpp.change('create_loopback', {});
  await inventory.ready(budget);
  expect(inventory.all()).toHaveLength(1);
  const { life } = inventory;
  inventory.forget();
  expect(inventory.all()).toEqual([]);
  expect(inventory.life).not.toBe(life);
});
