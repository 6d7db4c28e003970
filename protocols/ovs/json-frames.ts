// Cuts a stream of JSON objects that stand one after another, without newlines, into single objects, as OVSDB's
// JSON-RPC sends them (RFC 7047 section 4): by depth of brackets outside strings, on bytes, since every byte that
// matters is ASCII. Invariant: holds at most `frameBytesMax`; malformed input is one NsmError, after which the
// stream is of no more use.

import { NsmError } from '../errors.ts';

export interface JsonSplitterOptions {
  /** Default 64 MiB: the first state of 10,000 ports with their statistics is about a fifth of it. */
  readonly frameBytesMax?: number;
  /** Default 64; OVSDB's own messages need 9. */
  readonly depthMax?: number;
}

export interface JsonSplitter {
  /** The objects that are now complete, parsed. Errors: INVALID_ARGUMENT, RESOURCE_EXHAUSTED (past a bound). */
  push(bytes: Uint8Array): JsonObject[];
}

export type JsonObject = Readonly<Record<string, unknown>>;

const code = {
  quote: 0x22,
  backslash: 0x5c,
  openBracket: 0x5b,
  closeBracket: 0x5d,
  openBrace: 0x7b,
  closeBrace: 0x7d,
} as const;
/** Space, tab, line feed, carriage return: JSON's white space. */
const whiteSpace = new Set([0x20, 0x09, 0x0a, 0x0d]);
const excerptLength = 40;

function malformedJson(expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'an OVSDB message breaks its format', {
    rule: 'JSON-RPC framing',
    expected,
    found,
  });
}

function tooMuch(expected: string): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', 'an OVSDB message is beyond a bound', {
    rule: 'JSON-RPC framing',
    expected,
    found: 'more',
    remedy: 'monitor fewer columns, or raise the bound',
  });
}

export function createJsonSplitter(options: JsonSplitterOptions = {}): JsonSplitter {
  return new Splitter(options.frameBytesMax ?? 64 * 1024 * 1024, options.depthMax ?? 64);
}

class Splitter implements JsonSplitter {
  readonly #frameBytesMax: number;
  readonly #depthMax: number;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  /** The beginning of the object that is not complete yet. */
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  #depth = 0;
  #isInString = false;
  #isEscaped = false;

  constructor(frameBytesMax: number, depthMax: number) {
    this.#frameBytesMax = frameBytesMax;
    this.#depthMax = depthMax;
  }

  push(bytes: Uint8Array): JsonObject[] {
    const objects: JsonObject[] = [];
    let start = 0;
    for (let index = 0; index < bytes.length; index += 1) {
      const byte = bytes[index] ?? 0;
      if (this.#depth === 0) {
        start = index;
        if (!this.#begins(byte)) start += 1;
      } else if (this.#ends(byte)) {
        objects.push(this.#parse(bytes.subarray(start, index + 1)));
        start = index + 1;
      }
    }
    if (this.#depth > 0) this.#keep(bytes.slice(start));
    return objects;
  }

  #begins(byte: number): boolean {
    if (byte === code.openBrace) {
      this.#depth = 1;
      return true;
    }
    if (whiteSpace.has(byte)) return false;
    throw malformedJson('an object, "{"', `the byte 0x${byte.toString(16)}`);
  }

  /** True for the bracket that ends the object. */
  #ends(byte: number): boolean {
    if (this.#isInString) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (byte === code.backslash) this.#isEscaped = true;
      else if (byte === code.quote) this.#isInString = false;
      return false;
    }
    if (byte === code.quote) this.#isInString = true;
    else if (byte === code.openBrace || byte === code.openBracket) {
      this.#depth += 1;
      if (this.#depth > this.#depthMax) throw tooMuch(`a depth of at most ${this.#depthMax}`);
    } else if (byte === code.closeBrace || byte === code.closeBracket) {
      this.#depth -= 1;
      return this.#depth === 0;
    }
    return false;
  }

  #keep(bytes: Uint8Array): void {
    this.#keptBytes += bytes.length;
    if (this.#keptBytes > this.#frameBytesMax) throw tooMuch(`${this.#frameBytesMax} bytes`);
    if (bytes.length > 0) this.#kept.push(bytes);
  }

  #parse(last: Uint8Array): JsonObject {
    this.#keep(last);
    const parts = this.#kept;
    const whole = parts.length === 1 ? last : joined(parts, this.#keptBytes);
    this.#kept = [];
    this.#keptBytes = 0;
    let text: string;
    try {
      text = this.#decoder.decode(whole);
    } catch {
      throw malformedJson('UTF-8', 'other bytes');
    }
    try {
      return JSON.parse(text) as JsonObject;
    } catch (error) {
      const reason = error instanceof Error ? error.message.slice(0, 2 * excerptLength) : '';
      throw malformedJson('JSON', `${JSON.stringify(text.slice(0, excerptLength))} (${reason})`);
    }
  }
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
