// Bytes as VPP's API lays them out: packed, big-endian but for f64, which is little-endian (VPP does not swap it on
// x86-64 and govpp writes it so), written into one growing buffer and read with every access checked.
// Invariant: the reader never looks outside the bytes that it was given.

/** What breaks the format, told from the inside out: each layer puts its name before `path`. */
export class FieldProblem extends Error {
  readonly path: string;
  readonly expected: string;
  readonly found: string;

  constructor(expected: string, found: string, path = '') {
    super(`${path}: expected ${expected}, found ${found}`);
    this.path = path;
    this.expected = expected;
    this.found = found;
  }

  within(name: string): FieldProblem {
    const isJoined = this.path === '' || this.path.startsWith('[');
    return new FieldProblem(this.expected, this.found, `${name}${isJoined ? '' : '.'}${this.path}`);
  }
}

export class VppWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  u8(value: number): void {
    const offset = this.#grow(1);
    this.#view.setUint8(offset, value);
  }

  u16(value: number): void {
    const offset = this.#grow(2);
    this.#view.setUint16(offset, value);
  }

  u32(value: number): void {
    const offset = this.#grow(4);
    this.#view.setUint32(offset, value);
  }

  u64(value: bigint): void {
    const offset = this.#grow(8);
    this.#view.setBigUint64(offset, value);
  }

  f64(value: number): void {
    const offset = this.#grow(8);
    this.#view.setFloat64(offset, value, true);
  }

  bytes(value: Uint8Array): void {
    const offset = this.#grow(value.length);
    this.#bytes.set(value, offset);
  }

  zeros(count: number): void {
    this.#grow(count);
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** May replace the buffer, so it is called before the buffer is named. */
  #grow(count: number): number {
    const offset = this.#length;
    const needed = offset + count;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#length = needed;
    return offset;
  }
}

export class VppReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(): number {
    return this.#view.getUint8(this.take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.take(2));
  }

  u32(): number {
    return this.#view.getUint32(this.take(4));
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.take(8));
  }

  f64(): number {
    return this.#view.getFloat64(this.take(8), true);
  }

  /** A copy, so that a decoded message does not keep the receive buffer alive. */
  bytes(count: number): Uint8Array {
    const offset = this.take(count);
    return new Uint8Array(this.#bytes.subarray(offset, offset + count));
  }

  /** Moves past `count` bytes and returns where they begin. */
  take(count: number): number {
    if (count > this.remaining) throw new FieldProblem(`${count} more bytes`, `${this.remaining}`);
    const offset = this.#offset;
    this.#offset += count;
    return offset;
  }
}
