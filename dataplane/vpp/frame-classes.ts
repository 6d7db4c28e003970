// The rings that a host interface shares with the kernel. A ring is locked memory that is taken for each interface, so
// it is no larger than the wire's MTU asks for; what does not fit into a frame would be cut short.

export interface FrameClass {
  /** Bytes of a frame with the kernel's header in front of it: at most 82 (TPACKET2_HDRLEN and the alignment). */
  readonly frameBytes: number;
  readonly framesPerRing: number;
  readonly mtuMax: number;
}

/** Ethernet header, two VLAN tags, and the kernel's own header. */
const overheadBytes = 14 + 8 + 82;

const frameClass = (frameBytes: number, framesPerRing: number): FrameClass => ({
  frameBytes,
  framesPerRing,
  mtuMax: frameBytes - overheadBytes,
});

const largest = frameClass(67_584, 16);
/** About half a megabyte for each direction; the second has the reference's frame size. */
const frameClasses: readonly FrameClass[] = [
  frameClass(2048, 256),
  frameClass(10_240, 64),
  largest,
];

/** Index of the smallest class that the MTU fits into. */
export function frameClassFor(mtu: number): number {
  const found = frameClasses.findIndex(({ mtuMax }) => mtu <= mtuMax);
  return found < 0 ? frameClasses.indexOf(largest) : found;
}

export const frameClassAt = (index: number): FrameClass => frameClasses[index] ?? largest;
