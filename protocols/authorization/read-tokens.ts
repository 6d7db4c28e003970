// Path tokens as rules see them. Reading one and verifying its signature cost some 75 microseconds; refreshes, and the
// hops of one path, present the same tokens again and again, so what was found out is kept for the latest of them.
// Invariants: kept is at most a fixed number; a signature counts only for the very certificate that it was verified by.

import { asNsmError } from '../errors.ts';
import { limits } from '../limits.ts';
import { parsePathToken, type PathTokenClaims } from '../spiffe/path-token.ts';

/** A token that says something, or why it does not. */
export type ReadToken = PathTokenClaims | { readonly unreadable: string };

/** Throws where the holder of `leaf` (DER) has not signed the token. */
export type VerifySignature = (token: string, leaf: Uint8Array) => unknown;

interface Known {
  /** The token itself, copied: as it comes it may be a slice of all the headers, and would keep them. */
  readonly text: string;
  readonly read: ReadToken;
  /** By whose key it is signed, once that was asked. */
  signer: Uint8Array | undefined;
}

export class TokenReader {
  readonly #verify: VerifySignature;
  readonly #keptMax: number;
  /** Used since the last change of generations. A hit costs no change here, as it would where the latest must be last. */
  #recent = new Map<string, Known>();
  #before = new Map<string, Known>();

  /** `keptMax`: tokens that are kept at most; the half of them used last, at least. */
  constructor(verify: VerifySignature, keptMax = 1_024) {
    this.#verify = verify;
    this.#keptMax = keptMax;
  }

  read(token: string): ReadToken {
    return this.#look(token).read;
  }

  /** Undefined where nobody can be read out of it. */
  subjectOf(token: string): string | undefined {
    const read = token === '' ? undefined : this.read(token);
    return read === undefined || 'unreadable' in read ? undefined : read.subject;
  }

  isSignedBy(token: string, leaf: Uint8Array): boolean {
    const known = this.#look(token);
    if (known.signer === leaf) return true;
    try {
      this.#verify(token, leaf);
    } catch {
      return false;
    }
    known.signer = leaf;
    return true;
  }

  #look(token: string): Known {
    const recent = this.#recent.get(token);
    if (recent !== undefined) return recent;
    const known = this.#before.get(token) ?? unknown(token);
    // Whatever is too long is refused anyway, and must not fill the memory.
    if (token.length > limits.tokenLength) return known;
    this.#recent.set(known.text, known);
    if (this.#recent.size >= this.#keptMax / 2) {
      this.#before = this.#recent;
      this.#recent = new Map();
    }
    return known;
  }
}

const unknown = (token: string): Known => ({
  text: copyOf(token),
  read: readToken(token),
  signer: undefined,
});

/** Tokens are ASCII; what is not is none, and is kept as what it is read as. */
const copyOf = (token: string): string => decoder.decode(encoder.encode(token));
const encoder = new TextEncoder();
const decoder = new TextDecoder();

function readToken(token: string): ReadToken {
  try {
    const { subject, audience, expiresAtMs } = parsePathToken(token);
    return { subject, audience, expiresAtMs };
  } catch (error) {
    const { rule, expected, found } = asNsmError(error).details;
    return { unreadable: `${found ?? 'something else'} instead of ${expected} (${rule})` };
  }
}
