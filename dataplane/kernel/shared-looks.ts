// A look that many ask for at the same time: one that is under way may have begun too early, so all who come meanwhile
// share the next.

import type { Budget } from '../../protocols/ports/dataplane.ts';

export type SharedLook<Found> = (place: string, budget: Budget) => Promise<Found>;

/** Looks at one place follow one another; the first that asks says how long it may take. */
export function createSharedLooks<Found>(look: SharedLook<Found>): SharedLook<Found> {
  /** By place the look that has not begun, and the end of the one before it. */
  const next = new Map<string, Promise<Found>>();
  const last = new Map<string, Promise<unknown>>();
  return (place, { timeoutMs }) => {
    const waiting = next.get(place);
    if (waiting !== undefined) return waiting;
    const found = (last.get(place) ?? Promise.resolve()).then(() => {
      next.delete(place);
      return look(place, { timeoutMs });
    });
    next.set(place, found);
    const end = found
      .then(
        () => {},
        () => {},
      )
      .finally(() => {
        if (last.get(place) === end) last.delete(place);
      });
    last.set(place, end);
    return found;
  };
}
