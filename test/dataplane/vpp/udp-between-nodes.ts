// What of UDP was to be seen between the nodes of a test, whose outer addresses begin with 192.

import type { Tap } from '../../sandbox/mesh-tap.ts';

export interface SeenDatagram {
  readonly ports: readonly number[];
  readonly payload: Uint8Array;
}

export function udpBetweenNodes(tap: Tap): SeenDatagram[] {
  return tap.take().flatMap(({ bytes }) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const isUdp = bytes.length > 42 && view.getUint16(12) === 0x0800 && bytes[23] === 17;
    if (!isUdp || bytes[26] !== 192) return [];
    return [{ ports: [view.getUint16(34), view.getUint16(36)], payload: bytes.subarray(42) }];
  });
}
