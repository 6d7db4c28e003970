// Base64 without Buffer: the URL alphabet without padding (RFC 7515 section 2) for JWTs and JWKs, the standard one
// with padding (RFC 4648 section 4) for `x5c`. Strict: one text per value, so that a token cannot be respelled.

const urlAlphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const standardAlphabet = `${urlAlphabet.slice(0, 62)}+/`;

const tableOf = (alphabet: string): ReadonlyMap<string, number> =>
  new Map(Array.from(alphabet, (character, value) => [character, value]));

const urlTable = tableOf(urlAlphabet);
const standardTable = tableOf(standardAlphabet);

/** Undefined where the text is not in that form. */
export function decodeBase64Url(text: string): Uint8Array | undefined {
  return decode(text, urlTable);
}

/** Undefined where the text is not in that form. */
export function decodeBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0) return undefined;
  return decode(text.replace(/={1,2}$/, ''), standardTable);
}

export const encodeBase64Url = (bytes: Uint8Array): string => encode(bytes, urlAlphabet);

export function encodeBase64(bytes: Uint8Array): string {
  const text = encode(bytes, standardAlphabet);
  return text.padEnd(Math.ceil(text.length / 4) * 4, '=');
}

function decode(text: string, table: ReadonlyMap<string, number>): Uint8Array | undefined {
  if (text.length % 4 === 1) return undefined;
  const bytes = new Uint8Array(Math.floor((text.length * 6) / 8));
  let bits = 0;
  let bitCount = 0;
  let at = 0;
  for (const character of text) {
    const value = table.get(character);
    if (value === undefined) return undefined;
    bits = ((bits << 6) | value) & 0xffff;
    bitCount += 6;
    if (bitCount >= 8) {
      bitCount -= 8;
      bytes[at] = (bits >> bitCount) & 0xff;
      at += 1;
    }
  }
  const leftOver = bits & ((1 << bitCount) - 1);
  return leftOver === 0 ? bytes : undefined;
}

function encode(bytes: Uint8Array, alphabet: string): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const [first = 0, second = 0, third = 0] = bytes.subarray(at, at + 3);
    const group = (first << 16) | (second << 8) | third;
    const characters = Math.min(4, bytes.length - at + 1);
    for (let index = 0; index < characters; index += 1) {
      text += alphabet.charAt((group >> (18 - 6 * index)) & 0x3f);
    }
  }
  return text;
}
