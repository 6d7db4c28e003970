// Questions for the MAC of an address, as packets without their Ethernet header: an ARP request (RFC 826), and a
// neighbour solicitation (RFC 4861) with its IPv6 header. The answer renews what the kernel believes of the address.
// Invariant: pure; addresses of one family.

export interface Solicitation {
  /** EtherType. */
  readonly protocol: number;
  /** Where it goes on the link. */
  readonly destinationMac: Uint8Array;
  readonly packet: Uint8Array;
}

const arp = 0x0806;
const ipv6 = 0x86dd;
const icmpv6 = 58;
const everybody = new Uint8Array(6).fill(0xff);

/** Asks for `target` on behalf of `source` at the interface with `mac`. */
export function encodeSolicitation(
  mac: Uint8Array,
  source: Uint8Array,
  target: Uint8Array,
): Solicitation {
  return target.length === 4 ? arpRequest(mac, source, target) : neighbour(mac, source, target);
}

function arpRequest(mac: Uint8Array, source: Uint8Array, target: Uint8Array): Solicitation {
  const packet = new Uint8Array(28);
  // Ethernet, IPv4, their lengths, a request.
  packet.set([0, 1, 8, 0, 6, 4, 0, 1]);
  packet.set(mac, 8);
  packet.set(source, 14);
  packet.set(target, 24);
  return { protocol: arp, destinationMac: everybody, packet };
}

function neighbour(mac: Uint8Array, source: Uint8Array, target: Uint8Array): Solicitation {
  // The solicited-node group ff02::1:ffXX:XXXX of the target.
  const group = new Uint8Array(16);
  group.set([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]);
  group.set(target.subarray(13), 13);
  const message = new Uint8Array(32);
  message[0] = 135;
  message.set(target, 8);
  // Option: source link-layer address, one unit of eight bytes.
  message.set([1, 1], 24);
  message.set(mac, 26);
  const packet = new Uint8Array(40 + message.length);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x60);
  view.setUint16(4, message.length);
  view.setUint8(6, icmpv6);
  // Nobody beyond the link may have sent it.
  view.setUint8(7, 255);
  packet.set(source, 8);
  packet.set(group, 24);
  packet.set(message, 40);
  view.setUint16(42, checksum(source, group, message));
  const destinationMac = new Uint8Array([0x33, 0x33, ...group.subarray(12)]);
  return { protocol: ipv6, destinationMac, packet };
}

/** RFC 4443: over the addresses, the length, the protocol and the message. All parts have an even length. */
function checksum(source: Uint8Array, destination: Uint8Array, message: Uint8Array): number {
  let sum = message.length + icmpv6;
  for (const bytes of [source, destination, message]) {
    for (let index = 0; index < bytes.length; index += 2) {
      sum += ((bytes[index] ?? 0) << 8) | (bytes[index + 1] ?? 0);
    }
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
