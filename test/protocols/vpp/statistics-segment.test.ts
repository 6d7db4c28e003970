// Protects the reader of VPP's counters: every kind as VPP lays it out, nothing half changed is told, the directory is
// read once per epoch, and memory that makes no sense gives one clear error.

import { describe, expect, test } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { createSegmentReader, sumOfThreads } from '../../../protocols/vpp/statistics-segment.ts';
import { createGenerator, mutate } from '../ovs/mutate.ts';
import { fakeSegment, headerAt, interfaceStatistics } from './fake-segment.ts';

function memoryOf(bytes: Buffer, onRead: (offset: number, length: number) => void = () => {}) {
  return {
    length: bytes.length,
    read(offset: number, length: number) {
      onRead(offset, length);
      return Uint8Array.from(bytes.subarray(offset, offset + length));
    },
  };
}

test('every kind of counter is read by its name, and what is not there is left out', () => {
  const reader = createSegmentReader(memoryOf(fakeSegment(interfaceStatistics)));
  const names = [...interfaceStatistics.map(({ name }) => name), '/nope'];
  expect(Object.fromEntries(reader.read(names) ?? [])).toEqual({
    '/sys/heartbeat': { kind: 'scalar', value: 42n },
    '/if/rx': {
      kind: 'combined',
      threads: [
        [
          { packets: 1n, bytes: 100n },
          { packets: 2n, bytes: 200n },
        ],
        [
          { packets: 10n, bytes: 1000n },
          { packets: 20n, bytes: 2000n },
        ],
      ],
    },
    '/if/drops': { kind: 'simple', threads: [[0n, 3n], [0n, 4n], []] },
    '/if/names': { kind: 'names', names: ['local0', undefined, 'host-vw0'] },
    '/interfaces/host-vw0/rx': {
      kind: 'combined',
      threads: [[{ packets: 2n, bytes: 200n }], [{ packets: 20n, bytes: 2000n }]],
    },
    '/interfaces/host-vw0/drops': { kind: 'simple', threads: [[3n], [4n], []] },
    '/histogram': { kind: 'other', type: 7 },
    '/gauge': { kind: 'scalar', value: 2n ** 63n },
  });
  expect(reader.names()).toEqual(interfaceStatistics.map(({ name }) => name));
});

test('counters of an interface are summed over threads', () => {
  const reader = createSegmentReader(memoryOf(fakeSegment(interfaceStatistics)));
  const rx = reader.read(['/if/rx'])?.get('/if/rx');
  expect(sumOfThreads(rx, 1)).toEqual({ packets: 22n, bytes: 2200n });
  expect(sumOfThreads(rx, 99)).toEqual({ packets: 0n, bytes: 0n });
  expect(sumOfThreads({ kind: 'scalar', value: 1n }, 0)).toBeUndefined();
  expect(sumOfThreads(undefined, 0)).toBeUndefined();
});

test('nothing is told while VPP changes the segment, or when it did meanwhile', () => {
  const bytes = fakeSegment(interfaceStatistics);
  let onRead: (offset: number) => void = () => {};
  const reader = createSegmentReader(memoryOf(bytes, (offset) => onRead(offset)));
  bytes.writeBigUInt64LE(1n, headerAt.inProgress);
  expect(reader.read(['/if/rx'])).toBeUndefined();
  bytes.writeBigUInt64LE(0n, headerAt.inProgress);
  onRead = (offset) => {
    if (offset > 0) bytes.writeBigUInt64LE(2n, headerAt.epoch);
  };
  expect(reader.read(['/if/rx'])).toBeUndefined();
  onRead = (offset) => {
    if (offset > 0) bytes.writeBigUInt64LE(1n, headerAt.inProgress);
  };
  expect(reader.read(['/if/rx'])).toBeUndefined();
  onRead = () => {};
  bytes.writeBigUInt64LE(0n, headerAt.inProgress);
  expect(reader.read(['/if/rx'])?.size).toBe(1);
});

test('what looks damaged only because it was changing is no error', () => {
  const bytes = fakeSegment(interfaceStatistics);
  let isTorn = true;
  const memory = {
    length: bytes.length,
    read(offset: number, length: number) {
      if (offset > 0 && isTorn) {
        isTorn = false;
        bytes.writeBigUInt64LE(9n, headerAt.epoch);
        return new Uint8Array(length).fill(0xff);
      }
      return Uint8Array.from(bytes.subarray(offset, offset + length));
    },
  };
  const reader = createSegmentReader(memory);
  expect(reader.read(['/if/rx'])).toBeUndefined();
  expect(reader.read(['/if/rx'])?.size).toBe(1);
});

test('the directory is read once per epoch, then only what is asked for', () => {
  const bytes = fakeSegment(interfaceStatistics);
  const lengths: number[] = [];
  const reader = createSegmentReader(memoryOf(bytes, (_, length) => lengths.push(length)));
  const directory = interfaceStatistics.length * 144;
  reader.read(['/if/rx']);
  expect(lengths.filter((length) => length === directory)).toHaveLength(1);
  reader.read(['/if/rx']);
  expect(lengths.filter((length) => length === directory)).toHaveLength(1);
  bytes.writeBigUInt64LE(2n, headerAt.epoch);
  reader.read(['/if/rx']);
  expect(lengths.filter((length) => length === directory)).toHaveLength(2);
});

describe('memory that makes no sense', () => {
  const readAll = (bytes: Buffer) =>
    createSegmentReader(memoryOf(bytes)).read(interfaceStatistics.map(({ name }) => name));

  test.each([
    ['too short', Buffer.alloc(8), 'header'],
    ['another version', Buffer.alloc(64), 'version'],
  ])('%s', (_, bytes, rule) => {
    expect(() => readAll(bytes)).toThrow(
      expect.objectContaining({ code: 'DATA_LOSS', details: expect.objectContaining({ rule }) }),
    );
  });

  test('a directory elsewhere, a link to nothing, too long a vector', () => {
    const elsewhere = fakeSegment(interfaceStatistics);
    elsewhere.writeBigUInt64LE(5n, headerAt.directory);
    expect(() => readAll(elsewhere)).toThrow(expect.objectContaining({ code: 'DATA_LOSS' }));
    const link = fakeSegment([{ kind: 'symlink', name: '/x', entry: 5, column: 0 }]);
    expect(() => createSegmentReader(memoryOf(link)).read(['/x'])).toThrow(
      expect.objectContaining({
        details: { rule: '/x', expected: 'a link to a counter', found: 'entry 5' },
      }),
    );
    const long = fakeSegment(interfaceStatistics);
    const at = Number(
      long.readBigUInt64LE(headerAt.directory) - long.readBigUInt64LE(headerAt.base),
    );
    long.writeUInt32LE(0xffff_ffff, at - 8);
    expect(() => readAll(long)).toThrow(expect.objectContaining({ code: 'DATA_LOSS' }));
  });

  test('2,000 damaged segments give counters or one clear error', () => {
    const seed = 20_261_129;
    const pick = createGenerator(seed);
    const whole = fakeSegment(interfaceStatistics, { bytes: 4096 });
    let refused = 0;
    for (let run = 0; run < 2000; run += 1) {
      const bytes = Buffer.from(mutate(whole, pick));
      if (bytes.length > 8) bytes.writeBigUInt64LE(2n, 0);
      try {
        readAll(bytes);
      } catch (error) {
        if (!(error instanceof NsmError) || error.code !== 'DATA_LOSS') {
          throw new Error(`seed ${seed}, run ${run}`, { cause: error });
        }
        refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(200);
  });
});
