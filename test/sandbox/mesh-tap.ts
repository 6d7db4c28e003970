// An AF_PACKET socket over all interfaces of one namespace: sees every frame that comes or goes on any of them, and
// can put any frame onto one of them. Sockets never block; the buffer is large enough for what a test sends.

import koffi from 'koffi';

import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { checked, closeOnExec, dontWait, libc } from '../../transports/netlink/libc.ts';
import { inNamespace } from '../../transports/netlink/namespace-switch.ts';

const library = koffi.load(null);
const receiveFrom = library.func(
  'intptr_t recvfrom(int, _Out_ void *, size_t, int, _Out_ void *, _Inout_ void *)',
);
const sendTo = library.func(
  'intptr_t sendto(int, const void *, size_t, int, const void *, uint32_t)',
);
/** AF_PACKET, SOCK_RAW, and ETH_P_ALL in network order. */
const packetFamily = 17;
const rawSocket = 3;
const allProtocols = 0x0300;
/** SOL_SOCKET, SO_RCVBUFFORCE. */
const socketLevel = 1;
const receiveBufferForce = 33;
const receiveBufferBytes = 4 << 20;
/** sockaddr_ll: family u16, protocol be16, index i32, hardware type u16, packet type u8, length u8, address 8. */
const addressLength = 20;

export interface SeenFrame {
  /** Index of the interface, in the tap's namespace. */
  readonly index: number;
  readonly bytes: Uint8Array;
}

export interface Tap {
  readonly namespace: NetworkNamespace;
  send(index: number, frame: Uint8Array): void;
  /** What came since the last call. */
  take(): readonly SeenFrame[];
  close(): void;
}

export function openTap(namespace: NetworkNamespace): Tap {
  // One to listen and one to send, since a socket does not see what it has sent itself.
  const [listening, sending] = inNamespace(namespace.descriptor, () => {
    const open = (protocol: number): number =>
      checked(libc.socket(packetFamily, rawSocket | closeOnExec, protocol), 'open a packet socket');
    return [open(allProtocols), open(0)] as const;
  });
  const size = new Uint8Array(new Int32Array([receiveBufferBytes]).buffer);
  checked(
    libc.setsockopt(listening, socketLevel, receiveBufferForce, size, 4),
    'enlarge a receive buffer',
  );
  const buffer = new Uint8Array(65_536);
  return {
    namespace,
    send(index, frame) {
      const address = new Uint8Array(addressLength);
      const view = new DataView(address.buffer);
      view.setUint16(0, packetFamily, true);
      view.setInt32(4, index, true);
      const count = sendTo(
        sending,
        frame,
        frame.length,
        dontWait,
        address,
        addressLength,
      ) as number;
      checked(Number(count), `send a frame on interface ${index}`);
    },
    take() {
      const seen: SeenFrame[] = [];
      for (;;) {
        const address = new Uint8Array(addressLength);
        const length = new Uint8Array(new Uint32Array([addressLength]).buffer);
        const count = Number(
          receiveFrom(listening, buffer, buffer.length, dontWait, address, length) as number,
        );
        if (count < 0) return seen;
        const index = new DataView(address.buffer).getInt32(4, true);
        seen.push({ index, bytes: buffer.slice(0, count) });
      }
    },
    close() {
      libc.close(listening);
      libc.close(sending);
    },
  };
}
