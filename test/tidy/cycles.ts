// Finds a cycle among the imports of a tree. Type-only imports are left out, as the linter does: they are gone at run
// time and cannot make the order of loading matter.

import { posix } from 'node:path';
import type { Source } from './source.ts';

/** The first cycle found, its first file repeated at the end, or undefined. */
export function findCycle(files: ReadonlyMap<string, Source>): readonly string[] | undefined {
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (path: string): readonly string[] | undefined => {
    const start = trail.indexOf(path);
    if (start >= 0) return [...trail.slice(start), path];
    if (done.has(path)) return undefined;
    trail.push(path);
    for (const line of files.get(path)?.imports ?? []) {
      if (line.typeOnly || !line.specifier.startsWith('.')) continue;
      const cycle = visit(posix.join(posix.dirname(path), line.specifier));
      if (cycle !== undefined) return cycle;
    }
    trail.pop();
    done.add(path);
    return undefined;
  };
  for (const path of files.keys()) {
    const cycle = visit(path);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}
