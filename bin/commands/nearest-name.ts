// The known name nearest to a mistyped one: for commands and for variables.

/** Edits (insert, remove, replace one character) that turn one word into the other. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let line = 1; line <= from.length; line++) {
    const next = [line];
    for (let column = 1; column <= to.length; column++) {
      const replaced = (row[column - 1] ?? 0) + (from[line - 1] === to[column - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}

/** The known name that is few typing errors away, if any: at most a third of the letters, and at least one. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const [best] = known
    .map((candidate) => ({ candidate, distance: editDistance(name.slice(0, 100), candidate) }))
    .sort((a, b) => a.distance - b.distance);
  const distanceMax = Math.max(1, Math.floor(name.length / 3));
  return best !== undefined && best.distance <= distanceMax ? best.candidate : undefined;
}
