// Packed big-endian bytes, as the peers in user space lay them out: written into one growing buffer, and read with every
// access checked. What a format adds, and how it names what is malformed, stands with the format.
// Invariant: the reader never looks outside the bytes that it was given.

export class ByteWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    const offset = this.#grow(1);
    this.#view.setUint8(offset, value);
    return this;
  }

  u16(value: number): this {
    const offset = this.#grow(2);
    this.#view.setUint16(offset, value);
    return this;
  }

  u32(value: number): this {
    const offset = this.#grow(4);
    this.#view.setUint32(offset, value);
    return this;
  }

  u64(value: bigint): this {
    const offset = this.#grow(8);
    this.#view.setBigUint64(offset, value);
    return this;
  }

  bytes(value: Uint8Array): this {
    const offset = this.#grow(value.length);
    this.#bytes.set(value, offset);
    return this;
  }

  zeros(count: number): this {
    this.#grow(count);
    return this;
  }

  /** Writes a 16-bit number over one written before: for lengths that are known at the end. */
  u16At(offset: number, value: number): this {
    this.#view.setUint16(offset, value);
    return this;
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

/** The error for bytes that break a format. */
export type Malformed = (expected: string, found: string) => Error;

export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #malformed: Malformed;
  #offset = 0;

  constructor(bytes: Uint8Array, malformed: Malformed) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#malformed = malformed;
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

  /** A copy, so that a decoded message does not keep the receive buffer alive. */
  bytes(count: number): Uint8Array {
    return new Uint8Array(this.inPlace(count));
  }

  /** No copy: for a reader of these bytes alone. */
  inPlace(count: number): Uint8Array {
    const offset = this.take(count);
    return this.#bytes.subarray(offset, offset + count);
  }

  /** Moves past `count` bytes and returns where they begin. */
  take(count: number): number {
    if (count > this.remaining) throw this.#malformed(`${count} more bytes`, `${this.remaining}`);
    const offset = this.#offset;
    this.#offset += count;
    return offset;
  }
}
