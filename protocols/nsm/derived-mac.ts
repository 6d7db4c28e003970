// MAC addresses that follow from what an interface is, so that a rebuilt or moved wire needs no new ARP.
// The client's end follows from its connection, the Endpoint's end from service and address.
// Invariants: pure; locally administered, unicast; the two kinds never meet (one bit tells them apart).

/** MAC of the client's end of a wire, from the connection id (first path segment). */
export function clientMacAddress(connectionId: string): string {
  return macAddress(hashText(connectionId, clientSeed), 0);
}

/** MAC of the Endpoint's end of a wire, from the service's full name and the Endpoint's address on it. */
export function endpointMacAddress(networkService: string, address: string): string {
  return macAddress(hashText(`${networkService} ${address}`, endpointSeed), 1);
}

/** 64 bits as two unsigned halves. */
export interface TextHash {
  readonly high: number;
  readonly low: number;
}

const clientSeed = 0x636c69;
const endpointSeed = 0x6e7365;

/**
 * A hash for names, not for secrets: two multiply-and-rotate lanes over the UTF-16 units, each finished with the
 * other mixed in. Stable for ever, since names of live kernel objects depend on it.
 */
export function hashText(text: string, seed: number): TextHash {
  let a = seed ^ 0x9e3779b9;
  let b = seed ^ 0x85ebca6b;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    a = Math.imul(rotate(a ^ unit, 13), 0xcc9e2d51);
    b = Math.imul(rotate(b ^ unit, 17), 0x1b873593) + a;
  }
  a ^= text.length;
  const high = finish(a ^ rotate(b, 16));
  return { high, low: finish(b ^ Math.imul(high, 0x2545f491)) };
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function finish(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x7feb352d);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** First octet: bit 0 clear (unicast), bit 1 set (locally administered, IEEE 802), bit 2 the kind of end. */
function macAddress(hash: TextHash, kind: 0 | 1): string {
  const first = ((hash.high >>> 8) & 0xf8) | 0x02 | (kind << 2);
  const octets = [
    first,
    hash.high & 0xff,
    hash.low >>> 24,
    (hash.low >>> 16) & 0xff,
    (hash.low >>> 8) & 0xff,
    hash.low & 0xff,
  ];
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}
