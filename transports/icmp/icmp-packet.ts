// Echo requests and replies of ICMP (RFC 792) and ICMPv6 (RFC 4443), as bytes.
// Invariant: whatever arrives is either recognised as a reply to us or ignored; no input throws.

/** Types of request and reply. */
const types = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } } as const;
const headerLength = 8;

export interface Echo {
  readonly identifier: number;
  readonly sequence: number;
}

/** An echo request with `payloadLength` bytes of payload. Over IPv6 the kernel fills in the checksum. */
export function encodeEchoRequest(version: 4 | 6, echo: Echo, payloadLength: number): Uint8Array {
  const bytes = new Uint8Array(headerLength + payloadLength);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, types[version].request);
  view.setUint16(4, echo.identifier);
  view.setUint16(6, echo.sequence);
  for (let index = 0; index < payloadLength; index++) bytes[headerLength + index] = index & 0xff;
  if (version === 4) view.setUint16(2, internetChecksum(bytes));
  return bytes;
}

/** The reply in a packet; a raw socket of IPv4 delivers it behind its IP header. */
export function decodeEchoReply(
  version: 4 | 6,
  packet: Uint8Array,
  isRaw: boolean,
): Echo | undefined {
  const hasHeader = version === 4 && isRaw;
  const start = hasHeader ? ((packet[0] ?? 0) & 0x0f) * 4 : 0;
  if (hasHeader && (start < 20 || packet[9] !== 1)) return undefined;
  if (packet.length < start + headerLength) return undefined;
  const view = new DataView(packet.buffer, packet.byteOffset + start, packet.length - start);
  if (view.getUint8(0) !== types[version].reply || view.getUint8(1) !== 0) return undefined;
  return { identifier: view.getUint16(4), sequence: view.getUint16(6) };
}

/** RFC 1071. */
function internetChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let index = 0; index < bytes.length; index += 2) {
    sum += ((bytes[index] ?? 0) << 8) | (bytes[index + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
