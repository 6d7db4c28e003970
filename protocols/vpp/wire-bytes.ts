// Bytes as VPP's API lays them out: packed, big-endian but for f64, which is little-endian (VPP does not swap it on
// x86-64 and govpp writes it so).

import { ByteReader, ByteWriter } from '../wire-bytes.ts';

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

export class VppWriter extends ByteWriter {
  f64(value: number): void {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value, true);
    this.u64(view.getBigUint64(0));
  }
}

export class VppReader extends ByteReader {
  constructor(bytes: Uint8Array) {
    super(bytes, (expected, found) => new FieldProblem(expected, found));
  }

  f64(): number {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, this.u64());
    return view.getFloat64(0, true);
  }
}
