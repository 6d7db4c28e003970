// Protects the verdict about a service behind a wire: dead after a few connects in a row that fail, alive with the
// first that does not, unknown until it has answered once; one slow try never overtakes another.

import { beforeEach, describe, expect, it } from 'vitest';
import { createServiceLiveness } from '../../../actors/client/service-liveness.ts';
import type { Contact, LivenessWatch, Verdict } from '../../../protocols/ports/liveness.ts';
import { connectionOver, endpointAddresses } from '../../contract/liveness.ts';
import { createManualClock, type ManualClock } from '../../sandbox/manual-clock.ts';

let clock: ManualClock;
let told: Verdict[];
let answers: Contact | Promise<Contact>;
let asked: { readonly address: string; readonly atMs: number }[];
let watch: LivenessWatch;

beforeEach(() => {
  clock = createManualClock();
  [told, asked, answers] = [[], [], 'connected'];
});

function follow(change: Parameters<typeof connectionOver>[0] = {}): void {
  const liveness = createServiceLiveness({
    clock,
    contact: async (address) => {
      asked.push({ address, atMs: clock.nowMs() });
      return answers;
    },
    port: 8080,
    intervalMs: 100,
    timeoutMs: 100,
    failedMax: 3,
  });
  watch = liveness.watch(connectionOver(change), (verdict) => told.push(verdict));
}

const kinds = () => told.map(({ kind }) => kind);

describe('a service', () => {
  it('is asked at the first address of each family, at the interval', async () => {
    follow();
    await clock.advance(1_000);
    for (const address of endpointAddresses) {
      expect(asked.filter((each) => each.address === address)).toHaveLength(11);
    }
    expect(kinds()).toEqual(['alive']);
    watch.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  it.each(['refused', 'unanswered'] as const)(
    'that is %s is dead after three tries, which follow closely, and alive with the first that is not',
    async (contact) => {
      follow();
      await clock.advance(150);
      answers = contact;
      await clock.advance(149);
      expect(kinds()).toEqual(['alive']);
      await clock.advance(1);
      expect(watch.verdict).toMatchObject({
        kind: 'dead',
        what: 'service',
        found: expect.stringMatching(`${contact} at .* port 8080`),
      });
      answers = 'connected';
      await clock.advance(100);
      expect(kinds()).toEqual(['alive', 'dead', 'alive']);
      watch.stop();
    },
  );

  it('that has never answered is unknown: it may still start', async () => {
    answers = 'refused';
    follow();
    await clock.advance(10_000);
    expect(told).toEqual([]);
    expect((await watch.confirm()).kind).toBe('unknown');
    watch.stop();
  });

  it('is not blamed for what hinders this side', async () => {
    follow();
    await clock.advance(150);
    answers = 'hindered';
    await clock.advance(10_000);
    expect(kinds()).toEqual(['alive']);
    watch.stop();
  });

  it('is asked again only after the try before has ended', async () => {
    let end: (contact: Contact) => void = () => {};
    answers = new Promise((resolve) => (end = resolve));
    follow({ context: undefined as never });
    expect(asked).toEqual([]);
    watch.stop();
    follow();
    await clock.advance(1_000);
    expect(asked).toHaveLength(endpointAddresses.length);
    watch.stop();
    end('connected');
    await clock.advance(1_000);
    expect(asked).toHaveLength(endpointAddresses.length);
    expect(told).toEqual([]);
  });
});
