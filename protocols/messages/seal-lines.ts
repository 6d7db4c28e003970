// What a message over the bus carries in the clear where both ends have an identity. A key is an X25519 public key of
// one process for the life of one SVID; a greeting shows it with the certificates and the token that speak for it; a
// sealed message names the keys of both ends and its place in the row. All else of it is in the sealed body.
// Decoders take anything a stranger may send: they answer undefined and never throw.

import { decodeBase64, decodeBase64Url, encodeBase64 } from '../spiffe/base64url.ts';
import { chainLengthMax } from '../spiffe/svid-rules.ts';

/** A path token whose only audience is the key that it speaks for. */
export const helloHeader = 'vwire-hello';
/** The sender's certificates, leaf first. */
export const chainHeader = 'vwire-chain';
export const sealHeader = 'vwire-seal';
/** The answer of who cannot open a message: greet first, then send it again. */
export const strangerHeader = 'vwire-stranger';

const keyAudience = 'vwire-bus-key:';
const keyText = /^[\w-]{43}$/;

/** No SPIFFE ID, so no hop takes such a token for one of a path. */
export const audienceOfKey = (key: string): string => `${keyAudience}${key}`;

/** The key that a token of that audience speaks for. */
export function keyOfAudience(audience: readonly string[]): string | undefined {
  const [only] = audience;
  if (audience.length !== 1 || only?.startsWith(keyAudience) !== true) return undefined;
  const key = only.slice(keyAudience.length);
  return isKey(key) ? key : undefined;
}

const isKey = (text: string): boolean => keyText.test(text) && decodeBase64Url(text)?.length === 32;

export function encodeChain(chain: readonly Uint8Array[]): string {
  return chain.map(encodeBase64).join(',');
}

export function decodeChain(line: string | undefined): readonly Uint8Array[] | undefined {
  if (line === undefined) return undefined;
  const texts = line.split(',', chainLengthMax + 1);
  if (texts.length > chainLengthMax) return undefined;
  const chain: Uint8Array[] = [];
  for (const text of texts) {
    const der = decodeBase64(text);
    if (der === undefined || der.length === 0) return undefined;
    chain.push(der);
  }
  return chain;
}

export interface SealLine {
  /** Key of the sender. */
  readonly from: string;
  /** Key of the receiver. */
  readonly to: string;
  /** Of the messages from one key to the other, counted from 1. */
  readonly count: number;
}

export const encodeSeal = ({ from, to, count }: SealLine): string => `${from} ${to} ${count}`;

export function decodeSeal(line: string | undefined): SealLine | undefined {
  const match = line === undefined ? null : /^([\w-]{43}) ([\w-]{43}) ([1-9]\d{0,14})$/.exec(line);
  if (match === null) return undefined;
  const [, from = '', to = '', count] = match;
  return { from, to, count: Number(count) };
}
