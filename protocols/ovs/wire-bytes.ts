// Bytes as OpenFlow lays them out: big-endian, padded to 8 bytes here and there, in parts that tell their own length.
// Invariant: malformed input is one NsmError.

import { NsmError } from '../errors.ts';
import { ByteReader, ByteWriter } from '../wire-bytes.ts';

/** The one error for bytes that break the format; `where` names the structure. */
export function malformed(where: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'an OpenFlow message breaks its format', {
    rule: where,
    expected,
    found,
  });
}

export class WireWriter extends ByteWriter {
  /** Zeros until what was written since `start` is a multiple of 8 bytes long. */
  pad8(start: number): this {
    return this.zeros(-(this.length - start) & 7);
  }
}

export class WireReader extends ByteReader {
  readonly #where: string;

  constructor(bytes: Uint8Array, where: string) {
    super(bytes, (expected, found) => malformed(where, expected, found));
    this.#where = where;
  }

  rest(): Uint8Array {
    return this.bytes(this.remaining);
  }

  skip(count: number): this {
    this.take(count);
    return this;
  }

  /** A reader of the next `count` bytes alone, named `where` in errors. */
  part(count: number, where: string): WireReader {
    return new WireReader(this.inPlace(count), where);
  }

  /** Refuses bytes that no field accounts for. */
  end(): void {
    if (this.remaining > 0) throw malformed(this.#where, 'its end', `${this.remaining} more bytes`);
  }
}
