// Damages valid encodings for fuzz tests: bytes changed, cut, doubled or put in, as a seeded generator says.

/** A small generator (mulberry32), so that a failing seed replays. */
export function createGenerator(seed: number): (exclusiveMax: number) => number {
  let state = seed >>> 0;
  return (exclusiveMax) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % exclusiveMax;
  };
}

export function mutate(valid: Uint8Array, pick: (exclusiveMax: number) => number): Uint8Array {
  let bytes: Uint8Array = Uint8Array.from(valid);
  const times = 1 + pick(4);
  for (let time = 0; time < times; time += 1) bytes = mutateOnce(bytes, pick);
  return bytes;
}

function mutateOnce(bytes: Uint8Array, pick: (exclusiveMax: number) => number): Uint8Array {
  if (bytes.length === 0) return Uint8Array.of(pick(256));
  const at = pick(bytes.length);
  switch (pick(5)) {
    case 0:
      bytes[at] = pick(256);
      return bytes;
    case 1:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << pick(8));
      return bytes;
    case 2:
      return bytes.slice(0, at);
    case 3:
      return Uint8Array.from([...bytes.slice(0, at), ...bytes.slice(pick(bytes.length))]);
    default:
      return Uint8Array.from([...bytes.slice(0, at), pick(256), ...bytes.slice(at)]);
  }
}

export function randomBytes(length: number, pick: (exclusiveMax: number) => number): Uint8Array {
  return Uint8Array.from({ length }, () => pick(256));
}
