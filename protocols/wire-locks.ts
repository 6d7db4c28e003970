// One operation at a time per wire, or per whatever else has an id, in the order of arrival. For data planes.

export interface WireLocks {
  /** Runs `action` when everything that came earlier for any of the ids has ended. */
  hold<Result>(ids: readonly string[], action: () => Promise<Result>): Promise<Result>;
  isHeld(id: string): boolean;
}

export function createWireLocks(): WireLocks {
  const tails = new Map<string, Promise<unknown>>();
  return {
    isHeld: (id) => tails.has(id),
    hold(ids, action) {
      const earlier = ids.flatMap((id) => tails.get(id) ?? []);
      const isFree = earlier.length === 0;
      const turn = isFree
        ? Promise.resolve().then(action)
        : Promise.allSettled(earlier).then(action);
      // The tail never rejects: its failure belongs to the caller of that action alone.
      const tail = turn.then(
        () => {},
        () => {},
      );
      for (const id of ids) tails.set(id, tail);
      void tail.then(() => {
        for (const id of ids) if (tails.get(id) === tail) tails.delete(id);
      });
      return turn;
    },
  };
}
