// Protects the registry from its managers: however often a watch is lost, a manager has a bounded number of
// registrations under way, one per name, and each name gets its turn.

import { expect, it } from 'vitest';
import { Presence } from '../../../../actors/manager/registry/presence.ts';
import type { RegistryClients } from '../../../../actors/registry/registry-clients.ts';
import { silentLog } from '../../../../protocols/ports/log.ts';
import { systemRandom } from '../../../../transports/process/system-random.ts';
import { createManualClock, settle } from '../../../sandbox/manual-clock.ts';
import { endpoint } from '../../registry/fixture.ts';

function start(count: number) {
  const clock = createManualClock();
  const local = Array.from({ length: count }, (_, index) => endpoint(`e${index}`, 'svc'));
  const answers: (() => void)[] = [];
  const underWay: string[] = [];
  const asked: string[] = [];
  // A registry whose watches end at once, and which is slow to register.
  const endpoints = { find: async function* () {} };
  const presence = new Presence({
    upstream: { endpoints } as unknown as RegistryClients,
    publicUrl: 'tcp://127.0.0.1:5001',
    clock,
    random: systemRandom,
    log: silentLog,
    local: () => local,
    isLocal: () => true,
    registerAgain: async (name) => {
      underWay.push(name);
      asked.push(name);
      await new Promise<void>((resolve) => answers.push(resolve));
      underWay.splice(underWay.indexOf(name), 1);
    },
  });
  const answerAll = async (): Promise<void> => {
    while (answers.length > 0) {
      for (const answer of answers.splice(0)) answer();
      await settle();
    }
  };
  return { clock, presence, underWay, asked, answerAll };
}

it('has no more registrations under way than its bound while the watch is lost again and again', async () => {
  const { clock, presence, underWay, asked, answerAll } = start(40);
  await clock.advance(60_000);
  expect(underWay).toHaveLength(16);
  expect(new Set(underWay).size).toBe(16);
  await answerAll();
  expect(new Set(asked).size).toBe(40);
  presence.close();
  await answerAll();
  expect(clock.pendingTimers).toBe(0);
});

it('registers one name once at a time, and again for a loss that came meanwhile', async () => {
  const { clock, presence, underWay, asked, answerAll } = start(1);
  await clock.advance(60_000);
  expect(underWay).toEqual(['e0']);
  expect(asked).toEqual(['e0']);
  await answerAll();
  expect(asked).toEqual(['e0', 'e0']);
  presence.close();
  expect(clock.pendingTimers).toBe(0);
});
