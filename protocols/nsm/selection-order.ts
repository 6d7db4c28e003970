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

  /** A choice that goes by something else than the turn; where it begins among equals. */
  take(): number {
    this.count += 1;
    return this.count - 1;
  }

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

export interface Ranking {
  readonly limit: number;
  /** Where to begin: equal scores keep the order in which they come from there on. */
  readonly from: number;
  /** No score is higher, so that the search may end with enough of them. */
  readonly best: number;
}

/** The items with the highest scores first, at most `limit`. */
export function highest(
  items: readonly number[],
  score: (item: number) => number,
  { limit, from, best }: Ranking,
): readonly number[] {
  const found: number[] = [];
  const scores: number[] = [];
  for (let step = 0; step < items.length; step += 1) {
    const item = items[(from + step) % items.length] ?? 0;
    const own = score(item);
    const worst = scores[scores.length - 1] ?? 0;
    if (found.length === limit && own <= worst) continue;
    let place = scores.length;
    while (place > 0 && (scores[place - 1] ?? 0) < own) place -= 1;
    found.splice(place, 0, item);
    scores.splice(place, 0, own);
    if (found.length > limit) {
      found.pop();
      scores.pop();
    }
    if (found.length === limit && (scores[limit - 1] ?? 0) >= best) break;
  }
  return found;
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
 * its own keys to the others. Shares follow the weights, which all that are compared have or none.
 */
export function rendezvousScore(keyHash: number, nameHash: number, weight?: number): number {
  let mixed = Math.imul(keyHash ^ nameHash, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13) ^ keyHash, 0xc2b2ae35);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x27d4eb2f);
  mixed ^= mixed >>> 15;
  const share = ((mixed >>> 0) + 1) / 0x1_0000_0001;
  // Without a weight the share itself gives the same order, and a logarithm costs more than all the rest.
  return weight === undefined ? share : -weight / Math.log(share);
}
