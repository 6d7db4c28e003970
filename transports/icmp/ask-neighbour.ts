// Has the kernel learn anew which MAC an address has, by a question on the link whose answer it heeds. No right to
// administrate the network is needed, only the one to send raw packets.
// Invariants: best effort, never throws; the socket hears nothing and lives no longer than the call.

import koffi from 'koffi';

import type { IpAddress } from '../../protocols/netlink/ip-address.ts';
import { inNamespace } from './icmp-socket.ts';
import { encodeSolicitation, type Solicitation } from './solicitation.ts';

const library = koffi.load(null);
const call = {
  socket: library.func('int socket(int, int, int)'),
  ioctl: library.func('int ioctl(int, unsigned long, void *)'),
  sendto: library.func('intptr_t sendto(int, const void *, size_t, int, const void *, uint32_t)'),
  close: library.func('int close(int)'),
};
/** AF_PACKET. */
const packetFamily = 17;
/** SOCK_DGRAM with SOCK_CLOEXEC; protocol 0 hears nothing. */
const datagram = 2 | 0o2000000;
/** MSG_DONTWAIT. */
const dontWait = 0x40;
/** SIOCGIFHWADDR and SIOCGIFINDEX: struct ifreq has the name in 16 bytes, then the answer. */
const getHardwareAddress = 0x8927;
const getIndex = 0x8933;
const requestLength = 40;

export function askNeighbour(options: {
  readonly namespace: string | undefined;
  readonly interfaceName: string;
  readonly source: IpAddress;
  readonly destination: IpAddress;
}): void {
  const { namespace, interfaceName, source, destination } = options;
  const name = new TextEncoder().encode(interfaceName);
  if (name.length === 0 || name.length > 15) return;
  let descriptor = -1;
  try {
    descriptor = inNamespace(namespace, () => call.socket(packetFamily, datagram, 0) as number);
    if (descriptor < 0) return;
    const hardware = answerOf(descriptor, getHardwareAddress, name);
    const index = answerOf(descriptor, getIndex, name);
    if (hardware === undefined || index === undefined) return;
    const mac = hardware.slice(2, 8);
    const asked = encodeSolicitation(mac, source.bytes, destination.bytes);
    const to = linkAddress(asked, index);
    call.sendto(descriptor, asked.packet, asked.packet.length, dontWait, to, to.length);
  } catch {
    // The namespace has gone: there is nobody to ask.
  } finally {
    if (descriptor >= 0) call.close(descriptor);
  }
}

function answerOf(descriptor: number, request: number, name: Uint8Array): Uint8Array | undefined {
  const bytes = new Uint8Array(requestLength);
  bytes.set(name);
  return call.ioctl(descriptor, request, bytes) < 0 ? undefined : bytes.slice(16);
}

/** sockaddr_ll: family in host order, EtherType in network order, index as it came, then the MAC and its length. */
function linkAddress({ protocol, destinationMac }: Solicitation, index: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(20);
  bytes.set(new Uint8Array(new Uint16Array([packetFamily]).buffer));
  new DataView(bytes.buffer).setUint16(2, protocol);
  bytes.set(index.subarray(0, 4), 4);
  bytes[11] = destinationMac.length;
  bytes.set(destinationMac, 12);
  return bytes;
}
