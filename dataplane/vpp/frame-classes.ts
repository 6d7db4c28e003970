// The rings that a host interface shares with the kernel. A ring is locked memory that is taken for each interface, so
// it is no larger than the wire's MTU asks for; what does not fit into a frame would be cut short.

export interface FrameClass {
  /** Trunks with such frames. */
  readonly lanes: number;
  /** Bytes of a frame with the kernel's header in front of it: at most 82 (TPACKET2_HDRLEN and the alignment). */
  readonly frameBytes: number;
  readonly framesPerRing: number;
  readonly mtuMax: number;
}

/** Ethernet header, two VLAN tags, and the kernel's own header. */
const overheadBytes = 14 + 8 + 82;

const frameClass = (frameBytes: number, framesPerRing: number, lanes: number): FrameClass => ({
  lanes,
  frameBytes,
  framesPerRing,
  mtuMax: frameBytes - overheadBytes,
});

/**
 * Together fewer than 16, which is what VPP 26.10-rc0 has room for when it asks the kernel which of its files are ready; with
 * as many it stands still for ever (`epoll_events` in src/vlib/file.c).
 */
const [manyLanes, fewLanes] = [8, 2];
const largest = frameClass(67_584, 16, fewLanes);
/** About half a megabyte for each direction; the second has the reference's frame size. */
const frameClasses: readonly FrameClass[] = [
  frameClass(2048, 256, manyLanes),
  frameClass(10_240, 64, fewLanes),
  largest,
];

/** The tags that an end's frames carry on a trunk. */
export const trunkTagBytes = 8;
/** What the kernel takes for a link. */
const mtuLimit = 65_535;

/** Of both links of a trunk with such frames. */
export const trunkMtu = (frames: number): number => Math.min(mtuLimit, frameClassAt(frames).mtuMax);

/** As `frameClassFor`, of the trunk that carries frames of such an end; undefined where none can. */
export function trunkClassFor(mtu: number): number | undefined {
  const needed = mtu + trunkTagBytes;
  return needed > mtuLimit ? undefined : frameClassFor(needed);
}

/** Index of the smallest class that the MTU fits into. */
export function frameClassFor(mtu: number): number {
  const found = frameClasses.findIndex(({ mtuMax }) => mtu <= mtuMax);
  return found < 0 ? frameClasses.indexOf(largest) : found;
}

/** Every trunk that an owner can have: frames and lane. */
export const allTrunks = frameClasses.flatMap(({ lanes }, frames) =>
  Array.from({ length: lanes }, (_, lane) => ({ frames, lane })),
);

export const frameClassAt = (index: number): FrameClass => frameClasses[index] ?? largest;
