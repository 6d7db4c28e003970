// When a next hop is still the one that it was.

export interface NamedHop {
  readonly nextUrl?: string;
  readonly nextName?: string;
}

/**
 * Whether both lead to the same next hop. On a node its name tells: it has another socket once it was started again, and
 * so has one that was received as a descriptor once its holder was.
 */
export function leadsToSame(before: NamedHop, next: NamedHop): boolean {
  if (before.nextUrl === next.nextUrl) return true;
  const areOnNode = [before, next].every(({ nextUrl }) => nextUrl?.startsWith('unix:') === true);
  return areOnNode && before.nextName !== undefined && before.nextName === next.nextName;
}
