// Protects the way into the store: whatever the store does (refuses, loses answers, is changed by others), it ends
// up holding what was wanted last, with one write per key at a time and a bounded queue.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StoreWriter } from '../../../actors/registry/store-writer.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import type { RegistryStore } from '../../../protocols/ports/registry-store.ts';
import {
  createMemoryBucket,
  createMemoryRegistryStore,
} from '../../../transports/memory/registry-store.ts';
import { systemRandom } from '../../../transports/process/system-random.ts';
import { createManualClock, settle } from '../../sandbox/manual-clock.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : new TextDecoder().decode(value);

type Fault = 'none' | 'refused' | 'answerLost';

function setUp(faults: () => Fault = () => 'none', options: { waitingMax?: number } = {}) {
  const clock = createManualClock();
  const bucket = createMemoryBucket();
  const real = createMemoryRegistryStore(bucket);
  const writing = new Set<string>();
  const overlaps: string[] = [];
  const away = (): never => {
    throw new NsmError('UNAVAILABLE', 'the store is away');
  };
  const faulty = async <R>(key: string, work: () => Promise<R>): Promise<R> => {
    if (writing.has(key)) overlaps.push(key);
    writing.add(key);
    try {
      const fault = faults();
      await settle(1);
      if (fault === 'refused') away();
      const result = await work();
      if (fault === 'answerLost') away();
      return result;
    } finally {
      writing.delete(key);
    }
  };
  const store: RegistryStore = {
    ...real,
    put: (key, value, revision) => faulty(key, () => real.put(key, value, revision)),
    delete: (key, revision) => faulty(key, () => real.delete(key, revision)),
  };
  const writer = new StoreWriter({
    store,
    clock,
    random: systemRandom,
    log: silentLog,
    ...options,
  });
  void real.watch((change) => {
    if (change.kind !== 'reset') writer.observe(change);
  });
  const drain = async (): Promise<void> => {
    for (let round = 0; round < 200 && writer.pending > 0; round += 1) await clock.advance(1_000);
  };
  return { clock, bucket, other: real, writer, overlaps, drain };
}

describe('the store writer', () => {
  it('writes only the newest value of a key that changes faster than the store', async () => {
    const { bucket, writer, drain } = setUp();
    for (let round = 0; round < 100; round += 1) writer.put('k', bytes(`${round}`));
    await drain();
    expect(text(bucket.entries.get('k')?.value)).toBe('99');
    expect(bucket.revision).toBeLessThanOrEqual(2);
  });

  it('does not write what was taken back before it was written', async () => {
    const { bucket, writer, drain } = setUp();
    writer.put('other', bytes('x'));
    writer.put('k', bytes('1'));
    writer.delete('k');
    await drain();
    expect([...bucket.entries.keys()]).toEqual(['other']);
  });

  it('keeps to its bound while the store is away, and goes on afterwards', async () => {
    let isAway = true;
    const { bucket, writer, clock, drain } = setUp(() => (isAway ? 'refused' : 'none'), {
      waitingMax: 100,
    });
    for (let index = 0; index < 500; index += 1) writer.put(`k${index}`, bytes('x'));
    await clock.advance(30_000);
    expect(writer.pending).toBeLessThanOrEqual(100 + 64);
    isAway = false;
    await drain();
    expect(bucket.entries.has('k499')).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it('never buries what somebody else wrote later, and says so', async () => {
    const { other, writer, drain } = setUp();
    writer.put('k', bytes('ours'));
    await drain();
    const theirs = await other.put('k', bytes('theirs'));
    expect(
      writer.observe({
        kind: 'put',
        entry: { key: 'k', value: bytes('theirs'), revision: theirs },
      }),
    ).toBe('ignore');
    writer.delete('k');
    await other.put('k', bytes('newer'));
    await drain();
    expect(text((await other.load())[0]?.value)).toBe('newer');
  });

  it('tells the domain about a change of others, its own echo not', () => {
    const { writer } = setUp();
    const put = (revision: number, value: string) =>
      writer.observe({ kind: 'put', entry: { key: 'k', value: bytes(value), revision } });
    expect(put(5, 'a')).toBe('apply');
    expect(put(5, 'a')).toBe('ignore');
    expect(put(4, 'old')).toBe('ignore');
    expect(writer.observe({ kind: 'deleted', key: 'k', revision: 6 })).toBe('apply');
    writer.put('k', bytes('mine'));
    expect(put(7, 'mine')).toBe('ignore');
    expect(put(8, 'other')).toBe('conflict');
    writer.stop();
  });

  it('ends with what was wanted last, whatever fails on the way', async () => {
    const step = fc.record({
      key: fc.constantFrom('a', 'b', 'c'),
      value: fc.option(fc.integer({ min: 0, max: 9 }), { nil: undefined, freq: 3 }),
      pauseMs: fc.constantFrom(0, 0, 50, 500),
    });
    const fault = fc.constantFrom<Fault>('none', 'none', 'refused', 'answerLost');
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 25 }),
        fc.array(fault, { maxLength: 40 }),
        async (steps, faults) => {
          const left = [...faults];
          const { bucket, clock, writer, overlaps, drain } = setUp(() => left.shift() ?? 'none');
          const wanted = new Map<string, string>();
          for (const { key, value, pauseMs } of steps) {
            if (value === undefined) {
              writer.delete(key);
              wanted.delete(key);
            } else {
              writer.put(key, bytes(`${value}`));
              wanted.set(key, `${value}`);
            }
            if (pauseMs > 0) await clock.advance(pauseMs);
          }
          await drain();
          const stored = new Map([...bucket.entries].map(([key, each]) => [key, text(each.value)]));
          expect(stored).toEqual(wanted);
          expect(overlaps).toEqual([]);
        },
      ),
      { numRuns: 150 },
    );
  });
});
