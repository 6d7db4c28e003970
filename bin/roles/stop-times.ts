// How long each level may take to stop, each derived from what is within it, in ms. Invariant: nothing is killed by the
// one above while it still keeps to its own limit.

/** A registry that is away must not take the time that closing wires needs; the entry then expires there. */
export const unregisterStopMs = 500;

/** A role ends what is its own. */
export const roleStopMs = 10_000;

/** Its actors, connections and bus afterwards. */
export const platformStopMs = 3_000;

const marginMs = 1_000;

/** A process of one role, as it limits itself. */
export const processStopMs = roleStopMs + platformStopMs + marginMs;

/** Such a process, as its supervisor waits for it. */
export const childGraceMs = processStopMs + marginMs;

/** `vwire node`: its forwarder, then its manager, the identities that they had, then itself. */
export const nodeStopMs = 3 * childGraceMs + platformStopMs + marginMs;

export const nodeGraceMs = nodeStopMs + marginMs;

export const busGraceMs = 5_000;

/** `vwire up`: the node, the registry, the bus, the identities. In one process its four parts take no longer. */
export const upStopMs = nodeGraceMs + 2 * childGraceMs + busGraceMs + marginMs;

/** What is left of a time that begins now: never 0, so that what is left over is still told to end. */
export function timeLeft(clock: { nowMs(): number }, timeoutMs: number): () => number {
  const endMs = clock.nowMs() + timeoutMs;
  return () => Math.max(1, endMs - clock.nowMs());
}
