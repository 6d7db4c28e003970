// Protects a wire that is being made from the look that follows a new connection to the switch: its flows go out beside
// its ports, so that look may find them before the database has a row of it. What no wire has goes.

import { expect, test } from 'vitest';

import { createFlowKeeper, type FlowKeeperSetup } from '../../../dataplane/ovs/flow-keeper.ts';
import { wireCookie } from '../../../dataplane/ovs/tags.ts';
import { wireFlows } from '../../../dataplane/ovs/wire-flows.ts';
import type { FlowMod, FlowStatistics } from '../../../protocols/ovs/flow.ts';
import { addFlow } from '../../../protocols/ovs/flow-builders.ts';
import { createWireLocks } from '../../../protocols/wire-locks.ts';

const owner = { installation: 'ours', forwarder: 'node' };
const budget = { timeoutMs: 1_000 };

function flowsOf(wireId: string, first: number): FlowStatistics[] {
  const ends = {
    client: { kind: 'port', number: first },
    endpoint: { kind: 'port', number: first + 1 },
  } as const;
  return Object.values(wireFlows(wireCookie(owner, wireId), ends)).map((spec) => ({
    ...addFlow(spec),
    durationMs: 0,
    packets: 0n,
    bytes: 0n,
  }));
}

test('flows of a wire that is being made stay, and those of nobody go', async () => {
  const committed: FlowMod[] = [];
  const setup = {
    owner,
    rows: { ready: async () => {}, wireIds: () => [] },
    switch: {
      flows: async () => [...flowsOf('in the making', 1), ...flowsOf('left over', 3)],
      commit: async (changes: readonly FlowMod[]) => void committed.push(...changes),
    },
    locks: createWireLocks(),
    making: new Set([wireCookie(owner, 'in the making')]),
  };
  await createFlowKeeper(setup as unknown as FlowKeeperSetup).restore(budget);
  const cookies = new Set(committed.map(({ cookie }) => cookie));
  expect(cookies).toEqual(new Set([wireCookie(owner, 'left over')]));
  expect(committed).toHaveLength(2);
});
