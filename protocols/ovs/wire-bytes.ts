// Big-endian bytes as OpenFlow lays them out, written into one growing buffer and read with every access checked.
// Invariant: the reader never looks outside the bytes that it was given; malformed input is one NsmError.

import { NsmError } from '../errors.ts';

/** The one error for bytes that break the format; `where` names the structure. */
export function malformed(where: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'an OpenFlow message breaks its format', {
    rule: where,
    expected,
    found,
  });
}

export class WireWriter {
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
    this.#view.setUint32(offset, value >>> 0);
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

  /** Zeros until what was written since `start` is a multiple of 8 bytes long. */
  pad8(start: number): this {
    return this.zeros(-(this.#length - start) & 7);
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

export class WireReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #where: string;
  #offset = 0;

  constructor(bytes: Uint8Array, where: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#where = where;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8));
  }

  /** A copy, so that a decoded message does not keep the receive buffer alive. */
  bytes(count: number): Uint8Array {
    const offset = this.#take(count);
    return new Uint8Array(this.#bytes.subarray(offset, offset + count));
  }

  rest(): Uint8Array {
    return this.bytes(this.remaining);
  }

  skip(count: number): this {
    this.#take(count);
    return this;
  }

  /** A reader of the next `count` bytes alone, named `where` in errors. */
  part(count: number, where: string): WireReader {
    const offset = this.#take(count);
    return new WireReader(this.#bytes.subarray(offset, offset + count), where);
  }

  /** Refuses bytes that no field accounts for. */
  end(): void {
    if (this.remaining > 0) throw malformed(this.#where, 'its end', `${this.remaining} more bytes`);
  }

  #take(count: number): number {
    if (count > this.remaining) {
      throw malformed(this.#where, `${count} more bytes`, `${this.remaining}`);
    }
    const offset = this.#offset;
    this.#offset += count;
    return offset;
  }
}
