// In which order the candidates of one choice are tried, by each policy. Pure but for the turns, which are the
// memory of round robin: one counter per route, and the credit of each route where routes have weights.
// Invariants: the shares of weighted routes are exact over any run of as many choices as the weights sum up to, and
// smooth within it; nobody random is asked, so the same history gives the same order.

/** Names that share one weight. */
export interface NamedGroup {
  readonly weight: number;
  readonly names: readonly string[];
}

/** Whose turn it is under one match of one service. */
export class Turns {
  #turns: number[] = [];
  #credits: number[] = [];

  /** How many choices were made by turn. */
  count = 0;

  /** Every name once, beginning with the one whose turn it is. */
  *next(
    groups: readonly NamedGroup[],
    mayServe: (name: string) => boolean,
  ): Generator<string, void, undefined> {
    this.count += 1;
    const order = this.#order(groups, mayServe);
    for (const [place, group] of order.entries()) {
      const names = groups[group]?.names ?? [];
      const turn = this.#turns[group] ?? 0;
      if (place === 0) this.#turns[group] = (turn + 1) % Number.MAX_SAFE_INTEGER;
      for (let step = 0; step < names.length; step += 1) {
        yield names[(turn + step) % names.length] ?? '';
      }
    }
  }

  /** Smooth weighted round robin over the routes that have somebody to serve; the rest in order of their credit. */
  #order(groups: readonly NamedGroup[], mayServe: (name: string) => boolean): number[] {
    if (groups.length === 1) return [0];
    let total = 0;
    let chosen = -1;
    for (const [index, { weight, names }] of groups.entries()) {
      this.#credits[index] ??= 0;
      if (!names.some(mayServe)) continue;
      total += weight;
      this.#credits[index] += weight;
      if (chosen === -1 || this.#credit(index) > this.#credit(chosen)) chosen = index;
    }
    const byCredit = [...groups.keys()].toSorted((a, b) => this.#credit(b) - this.#credit(a));
    if (chosen === -1) return byCredit;
    this.#credits[chosen] = this.#credit(chosen) - total;
    return [chosen, ...byCredit.filter((index) => index !== chosen)];
  }

  #credit(index: number): number {
    return this.#credits[index] ?? 0;
  }
}

/** The names with the highest scores first, at most `limit`; equal scores keep the order in which they come. */
export function highest(
  names: Iterable<string>,
  score: (name: string) => number,
  limit: number,
): readonly string[] {
  const best: { readonly name: string; readonly score: number }[] = [];
  for (const name of names) {
    const own = score(name);
    const worst = best[best.length - 1];
    if (best.length === limit && worst !== undefined && own <= worst.score) continue;
    let place = best.length;
    while (place > 0 && (best[place - 1]?.score ?? 0) < own) place -= 1;
    best.splice(place, 0, { name, score: own });
    if (best.length > limit) best.pop();
  }
  return best.map(({ name }) => name);
}

/** 32 bits of FNV-1a over the text's UTF-16 units. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  return hash >>> 0;
}

/**
 * The score of rendezvous hashing: who has the highest for a key keeps it while it is there, and who goes gives only
 * its own keys to the others. Shares follow the weights.
 */
export function rendezvousScore(keyHash: number, nameHash: number, weight: number): number {
  let mixed = Math.imul(keyHash ^ nameHash, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13) ^ keyHash, 0xc2b2ae35);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x27d4eb2f);
  mixed ^= mixed >>> 15;
  const share = ((mixed >>> 0) + 1) / 0x1_0000_0001;
  return -weight / Math.log(share);
}
