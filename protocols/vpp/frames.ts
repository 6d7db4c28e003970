// Frames of VPP's API socket: 16 bytes, zero but for a big-endian length at offset 8, then one message.
// Invariant: the splitter holds one incomplete frame at most, and no more than `frameBytesMax` of it.

import { NsmError } from '../errors.ts';

export const frameHeaderLength = 16;
const lengthOffset = 8;
/** Of a message: its id. */
const messageBytesMin = 2;

/** The largest answer of VPP 26.10, its API definitions, has 2 MB. */
export const frameBytesMaxDefault = 16 * 1024 * 1024;

export function encodeFrame(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(frameHeaderLength + message.length);
  new DataView(frame.buffer).setUint32(lengthOffset, message.length);
  frame.set(message, frameHeaderLength);
  return frame;
}

export interface FrameSplitter {
  /** The messages that are now complete. Errors: INVALID_ARGUMENT (no message is so short), RESOURCE_EXHAUSTED. */
  push(bytes: Uint8Array): Uint8Array[];
}

export function createFrameSplitter(frameBytesMax: number = frameBytesMaxDefault): FrameSplitter {
  return new Splitter(frameBytesMax);
}

class Splitter implements FrameSplitter {
  readonly #frameBytesMax: number;
  /** The parts of the frame that is not complete yet: a large one comes in many. */
  #kept: Uint8Array[] = [];
  #keptBytes = 0;

  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax;
  }

  push(bytes: Uint8Array): Uint8Array[] {
    this.#kept.push(bytes);
    this.#keptBytes += bytes.length;
    if (this.#keptBytes < this.#neededBytes()) {
      // Whoever gave the bytes may use their memory again.
      this.#kept[this.#kept.length - 1] = bytes.slice();
      return [];
    }
    return this.#cut(this.#joined());
  }

  #cut(all: Uint8Array): Uint8Array[] {
    const view = new DataView(all.buffer, all.byteOffset, all.byteLength);
    const messages: Uint8Array[] = [];
    let offset = 0;
    while (all.length - offset >= frameHeaderLength) {
      const end = offset + frameHeaderLength + this.#checked(view.getUint32(offset + lengthOffset));
      if (end > all.length) break;
      messages.push(all.slice(offset + frameHeaderLength, end));
      offset = end;
    }
    this.#kept = offset === all.length ? [] : [all.slice(offset)];
    this.#keptBytes = all.length - offset;
    return messages;
  }

  /** Bytes until the frame that is begun may be complete: as its header says, once that is there. */
  #neededBytes(): number {
    const [first] = this.#kept;
    if (first === undefined || first.length < frameHeaderLength) return frameHeaderLength;
    const view = new DataView(first.buffer, first.byteOffset, first.byteLength);
    return frameHeaderLength + this.#checked(view.getUint32(lengthOffset));
  }

  #checked(length: number): number {
    if (length < messageBytesMin) {
      throw new NsmError('INVALID_ARGUMENT', 'a frame from VPP breaks its format', {
        rule: 'frame length',
        expected: `at least ${messageBytesMin}`,
        found: `${length}`,
      });
    }
    if (length > this.#frameBytesMax) {
      throw new NsmError('RESOURCE_EXHAUSTED', 'a frame from VPP is beyond a bound', {
        rule: 'frame length',
        expected: `at most ${this.#frameBytesMax} bytes`,
        found: `${length}`,
      });
    }
    return length;
  }

  #joined(): Uint8Array {
    const [first] = this.#kept;
    if (this.#kept.length === 1 && first !== undefined) return first;
    const all = new Uint8Array(this.#keptBytes);
    let offset = 0;
    for (const part of this.#kept) {
      all.set(part, offset);
      offset += part.length;
    }
    return all;
  }
}
