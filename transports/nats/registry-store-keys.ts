// Names of registry entries as keys of a KV bucket. A key may hold `-/_=.a-zA-Z0-9` only, and a dot splits it into
// tokens; so every other byte, the dot and `=` itself are written as `=` and two hex digits.
// Invariant: decoding gives the name back; two names never share a key.

const plain = /^[a-zA-Z0-9_/-]$/;
const hex = /^[0-9A-F]{2}$/;

export function encodeStoreKey(key: string): string {
  let encoded = '';
  for (const byte of Buffer.from(key, 'utf8')) {
    const character = String.fromCharCode(byte);
    encoded += plain.test(character)
      ? character
      : `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

/** Undefined where the key was not written by `encodeStoreKey`. */
export function decodeStoreKey(encoded: string): string | undefined {
  const bytes: number[] = [];
  for (let at = 0; at < encoded.length; at += 1) {
    const character = encoded.charAt(at);
    if (character === '=') {
      const digits = encoded.slice(at + 1, at + 3);
      if (!hex.test(digits)) return undefined;
      bytes.push(Number.parseInt(digits, 16));
      at += 2;
    } else if (plain.test(character)) {
      bytes.push(character.charCodeAt(0));
    } else {
      return undefined;
    }
  }
  const key = Buffer.from(bytes).toString('utf8');
  return encodeStoreKey(key) === encoded ? key : undefined;
}
