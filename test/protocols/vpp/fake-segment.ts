// A statistics segment for tests, built as VPP lays it out: header, directory, vectors with their length eight bytes
// before them, pointers that count from a base.

export type FakeStatistic =
  | { readonly kind: 'scalar' | 'gauge'; readonly name: string; readonly value: bigint }
  | {
      readonly kind: 'simple';
      readonly name: string;
      readonly threads: readonly (readonly bigint[])[];
    }
  | {
      readonly kind: 'combined';
      readonly name: string;
      readonly threads: readonly (readonly (readonly [packets: bigint, bytes: bigint])[])[];
    }
  | {
      readonly kind: 'names';
      readonly name: string;
      readonly names: readonly (string | undefined)[];
    }
  | {
      readonly kind: 'symlink';
      readonly name: string;
      readonly entry: number;
      readonly column: number;
    }
  | { readonly kind: 'histogram'; readonly name: string };

const types = { scalar: 1, simple: 2, combined: 3, names: 4, symlink: 6, histogram: 7, gauge: 9 };
const entryLength = 144;

/** What the header's first words are at; see statistics-segment.ts. */
export const headerAt = { version: 0, base: 8, epoch: 16, inProgress: 24, directory: 32 };

export function fakeSegment(
  statistics: readonly FakeStatistic[],
  { base = 0x1_3000_0000n, epoch = 1n, bytes = 64 * 1024 } = {},
): Buffer {
  const memory = Buffer.alloc(bytes);
  let end = 64;
  const allocate = (length: number, count: number): number => {
    const offset = end + 16;
    memory.writeUInt32LE(count, offset - 8);
    end = offset + Math.ceil(length / 8) * 8;
    return offset;
  };
  const pointer = (offset: number): bigint => base + BigInt(offset);
  const numbers = (values: readonly bigint[], count = values.length): number => {
    const offset = allocate(values.length * 8, count);
    values.forEach((value, index) => memory.writeBigUInt64LE(value, offset + index * 8));
    return offset;
  };
  const valueOf = (statistic: FakeStatistic): bigint => {
    switch (statistic.kind) {
      case 'scalar':
      case 'gauge':
        return statistic.value;
      case 'simple':
        return pointer(numbers(statistic.threads.map((thread) => pointer(numbers(thread)))));
      case 'combined': {
        const threads = statistic.threads.map((thread) =>
          pointer(numbers(thread.flat(), thread.length)),
        );
        return pointer(numbers(threads));
      }
      case 'names': {
        const names = statistic.names.map((name) => {
          if (name === undefined) return 0n;
          const text = Buffer.from(`${name}\0`);
          const offset = allocate(text.length, text.length);
          text.copy(memory, offset);
          return pointer(offset);
        });
        return pointer(numbers(names));
      }
      case 'symlink':
        return BigInt(statistic.entry) | (BigInt(statistic.column) << 32n);
      case 'histogram':
        return 0n;
    }
  };
  const values = statistics.map(valueOf);
  const directory = allocate(statistics.length * entryLength, statistics.length);
  statistics.forEach(({ kind, name }, index) => {
    const at = directory + index * entryLength;
    memory.writeUInt32LE(types[kind], at);
    memory.writeBigUInt64LE(values[index] ?? 0n, at + 8);
    memory.write(name, at + 16);
  });
  memory.writeBigUInt64LE(2n, headerAt.version);
  memory.writeBigUInt64LE(base, headerAt.base);
  memory.writeBigUInt64LE(epoch, headerAt.epoch);
  memory.writeBigUInt64LE(pointer(directory), headerAt.directory);
  return memory;
}

/** As a forwarder reads it: two interfaces on two threads. */
export const interfaceStatistics: readonly FakeStatistic[] = [
  { kind: 'scalar', name: '/sys/heartbeat', value: 42n },
  {
    kind: 'combined',
    name: '/if/rx',
    threads: [
      [
        [1n, 100n],
        [2n, 200n],
      ],
      [
        [10n, 1000n],
        [20n, 2000n],
      ],
    ],
  },
  { kind: 'simple', name: '/if/drops', threads: [[0n, 3n], [0n, 4n], []] },
  { kind: 'names', name: '/if/names', names: ['local0', undefined, 'host-vw0'] },
  { kind: 'symlink', name: '/interfaces/host-vw0/rx', entry: 1, column: 1 },
  { kind: 'symlink', name: '/interfaces/host-vw0/drops', entry: 2, column: 1 },
  { kind: 'histogram', name: '/histogram' },
  { kind: 'gauge', name: '/gauge', value: 2n ** 63n },
];
