// VPP's statistics segment, version 2 (src/vlib/stats/shared.h): a header, a directory of 144-byte entries, and vectors
// behind pointers that count from the header's `base`. All little-endian, as x86-64 and arm64 have it.
// Invariants: every access is checked against the segment's size; what VPP changed meanwhile is read again, never mixed.

import { NsmError } from '../errors.ts';

/** The segment's memory, by offset; it may change at any time. */
export interface SegmentMemory {
  readonly length: number;
  /** Fewer bytes where the memory has become shorter. */
  read(offset: number, length: number): Uint8Array;
}

export interface PacketsAndBytes {
  readonly packets: bigint;
  readonly bytes: bigint;
}

export type StatisticValue =
  | { readonly kind: 'scalar'; readonly value: bigint }
  /** By thread, then by index, such as that of an interface. */
  | { readonly kind: 'simple'; readonly threads: readonly (readonly bigint[])[] }
  | { readonly kind: 'combined'; readonly threads: readonly (readonly PacketsAndBytes[])[] }
  /** By index; undefined where there is none of that index. */
  | { readonly kind: 'names'; readonly names: readonly (string | undefined)[] }
  /** A kind that is not read here: empty, histogram, ring. */
  | { readonly kind: 'other'; readonly type: number };

interface DirectoryEntry {
  readonly name: string;
  readonly type: number;
  /** A number, a pointer, or two indices, as the type says. */
  readonly value: bigint;
}

interface SegmentHeader {
  readonly base: bigint;
  readonly epoch: bigint;
  readonly isChanging: boolean;
  /** Pointer to the vector of entries. */
  readonly directory: bigint;
}

interface SegmentIndex {
  readonly epoch: bigint;
  readonly base: bigint;
  readonly entries: readonly DirectoryEntry[];
  readonly byName: ReadonlyMap<string, DirectoryEntry>;
}

const version = 2n;
const headerLength = 40;
const entryLength = 144;
const nameOffset = 16;
/** From a vector's data back to its length. */
const vectorHeaderLength = 8;
/** VPP 26.10 has some 4,200 entries with few interfaces; each interface adds about 20. */
const entriesMax = 1_048_576;
const threadsMax = 1024;
/** Of one vector; VPP's interfaces are fewer. */
const elementsMax = 1_048_576;
const nameBytesMax = 1024;

const type = {
  scalar: 1,
  simple: 2,
  combined: 3,
  names: 4,
  symlink: 6,
  gauge: 9,
} as const;

const decoder = new TextDecoder();

export interface SegmentReader {
  /** Undefined where VPP was changing the segment: try again. Errors: DATA_LOSS. */
  read(names: readonly string[]): ReadonlyMap<string, StatisticValue> | undefined;
  names(): readonly string[] | undefined;
}

export function createSegmentReader(memory: SegmentMemory): SegmentReader {
  return new Reader(memory);
}

/** Of one interface, or another index, over all threads. */
export function sumOfThreads(
  value: StatisticValue | undefined,
  index: number,
): PacketsAndBytes | undefined {
  if (value?.kind !== 'combined') return undefined;
  let packets = 0n;
  let bytes = 0n;
  for (const thread of value.threads) {
    packets += thread[index]?.packets ?? 0n;
    bytes += thread[index]?.bytes ?? 0n;
  }
  return { packets, bytes };
}

class Reader implements SegmentReader {
  readonly #memory: SegmentMemory;
  #index: SegmentIndex | undefined;

  constructor(memory: SegmentMemory) {
    this.#memory = memory;
  }

  read(names: readonly string[]): ReadonlyMap<string, StatisticValue> | undefined {
    return this.#consistently((index) => {
      const found = new Map<string, StatisticValue>();
      for (const name of names) {
        const entry = index.byName.get(name);
        if (entry !== undefined) found.set(name, this.#value(index, entry));
      }
      return found;
    });
  }

  names(): readonly string[] | undefined {
    return this.#consistently((index) => [...index.byName.keys()]);
  }

  /** What is half changed may look like anything, so an error counts only where nothing changed. */
  #consistently<Result>(look: (index: SegmentIndex) => Result): Result | undefined {
    const before = this.#header();
    if (before.isChanging) return undefined;
    let result: Result;
    try {
      if (this.#index?.epoch !== before.epoch) this.#index = this.#readIndex(before);
      result = look(this.#index);
    } catch (error) {
      this.#index = undefined;
      if (this.#isUnchanged(before.epoch)) throw error;
      return undefined;
    }
    return this.#isUnchanged(before.epoch) ? result : undefined;
  }

  #isUnchanged(epoch: bigint): boolean {
    const after = this.#header();
    return !after.isChanging && after.epoch === epoch;
  }

  #header(): SegmentHeader {
    const view = this.#view(0, headerLength, 'header');
    const found = view.getBigUint64(0, true);
    if (found !== version) throw damaged('version', `${version}`, `${found}`);
    return {
      base: view.getBigUint64(8, true),
      epoch: view.getBigUint64(16, true),
      isChanging: view.getBigUint64(24, true) !== 0n,
      directory: view.getBigUint64(32, true),
    };
  }

  #readIndex({ base, epoch, directory }: SegmentHeader): SegmentIndex {
    const { offset, count } = this.#vector({ base, pointer: directory }, entriesMax, 'directory');
    const view = this.#view(offset, count * entryLength, 'directory');
    const entries = Array.from({ length: count }, (_, position): DirectoryEntry => {
      const at = position * entryLength;
      const name = new Uint8Array(view.buffer, view.byteOffset + at + nameOffset, 128);
      return {
        name: textOf(name),
        type: view.getUint32(at, true),
        value: view.getBigUint64(at + 8, true),
      };
    });
    const named = entries.filter(({ name }) => name !== '');
    return { base, epoch, entries, byName: new Map(named.map((entry) => [entry.name, entry])) };
  }

  #value(index: SegmentIndex, entry: DirectoryEntry): StatisticValue {
    switch (entry.type) {
      case type.scalar:
      case type.gauge:
        return { kind: 'scalar', value: entry.value };
      case type.simple:
        return { kind: 'simple', threads: this.#threads(index, entry, readSimple) };
      case type.combined:
        return { kind: 'combined', threads: this.#threads(index, entry, readCombined) };
      case type.names:
        return { kind: 'names', names: this.#names(index, entry) };
      case type.symlink:
        return this.#linked(index, entry);
      default:
        return { kind: 'other', type: entry.type };
    }
  }

  /** One column of another entry: its index in the lower half, the column in the upper. */
  #linked(index: SegmentIndex, { name, value }: DirectoryEntry): StatisticValue {
    const target = index.entries[Number(value & 0xffff_ffffn)];
    const column = Number(value >> 32n);
    if (target === undefined || target.type === type.symlink) {
      throw damaged(name, 'a link to a counter', `entry ${value & 0xffff_ffffn}`);
    }
    const whole = this.#value(index, target);
    if (whole.kind === 'simple') {
      const threads = whole.threads.map((thread) => thread.slice(column, column + 1));
      return { kind: 'simple', threads };
    }
    if (whole.kind === 'combined') {
      const threads = whole.threads.map((thread) => thread.slice(column, column + 1));
      return { kind: 'combined', threads };
    }
    return whole;
  }

  #threads<Element>(
    { base }: SegmentIndex,
    { name, value }: DirectoryEntry,
    { length, read }: ElementFormat<Element>,
  ): Element[][] {
    if (value === 0n) return [];
    return this.#pointers({ base, pointer: value }, threadsMax, name).map((pointer) => {
      if (pointer === 0n) return [];
      const { offset, count } = this.#vector({ base, pointer }, elementsMax, name);
      const view = this.#view(offset, count * length, name);
      return Array.from({ length: count }, (_, position) => read(view, position * length));
    });
  }

  #names({ base }: SegmentIndex, { name, value }: DirectoryEntry): (string | undefined)[] {
    if (value === 0n) return [];
    return this.#pointers({ base, pointer: value }, elementsMax, name).map((pointer) => {
      if (pointer === 0n) return undefined;
      const { offset, count } = this.#vector({ base, pointer }, nameBytesMax, name);
      return textOf(this.#bytes(offset, count, name));
    });
  }

  #pointers(at: Pointer, countMax: number, where: string): bigint[] {
    const { offset, count } = this.#vector(at, countMax, where);
    const view = this.#view(offset, count * 8, where);
    return Array.from({ length: count }, (_, position) => view.getBigUint64(position * 8, true));
  }

  #vector({ base, pointer }: Pointer, countMax: number, where: string) {
    const offset = Number(BigInt.asIntN(64, pointer - base));
    const view = this.#view(offset - vectorHeaderLength, 4, where);
    const count = view.getUint32(0, true);
    if (count > countMax) throw damaged(where, `at most ${countMax} elements`, `${count}`);
    return { offset, count };
  }

  #view(offset: number, length: number, where: string): DataView {
    const bytes = this.#bytes(offset, length, where);
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #bytes(offset: number, length: number, where: string): Uint8Array {
    if (offset < 0 || offset + length > this.#memory.length) {
      const expected = `an offset below ${this.#memory.length}`;
      throw damaged(where, expected, `${length} bytes at ${offset}`);
    }
    const bytes = this.#memory.read(offset, length);
    if (bytes.length < length) throw damaged(where, `${length} bytes`, `${bytes.length}`);
    return bytes;
  }
}

interface Pointer {
  readonly base: bigint;
  readonly pointer: bigint;
}

interface ElementFormat<Element> {
  readonly length: number;
  readonly read: (view: DataView, offset: number) => Element;
}

const readSimple: ElementFormat<bigint> = {
  length: 8,
  read: (view, offset) => view.getBigUint64(offset, true),
};

const readCombined: ElementFormat<PacketsAndBytes> = {
  length: 16,
  read: (view, offset) => ({
    packets: view.getBigUint64(offset, true),
    bytes: view.getBigUint64(offset + 8, true),
  }),
};

function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function damaged(where: string, expected: string, found: string): NsmError {
  return new NsmError('DATA_LOSS', 'the statistics segment of VPP breaks its format', {
    rule: where,
    expected,
    found,
  });
}
