// Protects the registry from its managers: however often a watch is lost, a manager has a bounded number of
// registrations under way, one per name, and each name gets its turn.

import { expect, it } from 'vitest';
import { Presence } from '../../../../actors/manager/registry/presence.ts';
import type { RegistryClients } from '../../../../actors/registry/registry-clients.ts';
import type { NsmError } from '../../../../protocols/errors.ts';
import { connectionReplaced } from '../../../../protocols/messages/replaced-connection.ts';
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

it('opens its watch again at once where certificates were renewed, without a word of a loss', async () => {
  const clock = createManualClock();
  const warned: string[] = [];
  const replace: ((error: NsmError) => void)[] = [];
  const endpoints = {
    find: async function* () {
      yield* await new Promise<never[]>((_, reject) => replace.push(reject));
    },
  };
  const asked: string[] = [];
  const presence = new Presence({
    upstream: { endpoints } as unknown as RegistryClients,
    publicUrl: 'tcp://127.0.0.1:5001',
    clock,
    random: systemRandom,
    log: { ...silentLog, warn: (message) => void warned.push(message) },
    local: () => [endpoint('e0', 'svc')],
    isLocal: () => true,
    registerAgain: (name) => Promise.resolve(void asked.push(name)),
  });
  await settle();
  for (let renewal = 1; renewal <= 8; renewal += 1) {
    await clock.advance(5_000);
    replace.at(-1)?.(connectionReplaced('tcp://registry:5002', 'one from before a renewal'));
    await settle();
    expect(replace).toHaveLength(renewal + 1);
    // What was deleted between the two watches was not seen.
    expect(asked).toHaveLength(renewal);
  }
  expect(warned).toEqual([]);
  presence.close();
  expect(clock.pendingTimers).toBe(0);
});
