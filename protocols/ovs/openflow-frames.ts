// Cuts the byte stream of an OpenFlow connection into messages by the length in each header.
// Invariant: never holds more than one incomplete message, which is at most 65,535 bytes.

import { headerLength } from './openflow-constants.ts';
import { malformed } from './wire-bytes.ts';

export interface FrameSplitter {
  /** Every message that is now complete. Throws INVALID_ARGUMENT for a length below the header's own. */
  push(bytes: Uint8Array): Uint8Array[];
}

const empty = new Uint8Array(0);

export function createFrameSplitter(): FrameSplitter {
  let kept = empty;
  return {
    push(bytes) {
      const all = kept.length === 0 ? bytes : joined(kept, bytes);
      const frames: Uint8Array[] = [];
      let offset = 0;
      while (all.length - offset >= headerLength) {
        const length = ((all[offset + 2] ?? 0) << 8) | (all[offset + 3] ?? 0);
        if (length < headerLength) {
          throw malformed('message length', `at least ${headerLength}`, `${length}`);
        }
        if (all.length - offset < length) break;
        frames.push(all.slice(offset, offset + length));
        offset += length;
      }
      kept = offset === all.length ? empty : all.slice(offset);
      return frames;
    },
  };
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}
