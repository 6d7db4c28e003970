// Names of services and endpoints across domains: `target@domain`, split at the first `@` (a domain may hold more).
// Invariant: joining what was split gives the name back.

export interface DomainName {
  readonly target: string;
  /** Absent where the name has no `@`; may be empty, as in `service@`. */
  readonly domain: string | undefined;
}

/** True where the name belongs to another domain. */
export function isInterdomain(name: string): boolean {
  return name.includes('@');
}

export function splitServiceName(name: string): DomainName {
  const at = name.indexOf('@');
  if (at === -1) return { target: name, domain: undefined };
  return { target: name.slice(0, at), domain: name.slice(at + 1) };
}

export function joinServiceName({ target, domain }: DomainName): string {
  return domain === undefined ? target : `${target}@${domain}`;
}

/** The first domain found in these names: which domain a query over several names goes to. */
export function firstDomain(names: readonly string[]): string | undefined {
  for (const name of names) {
    const { domain } = splitServiceName(name);
    if (domain !== undefined) return domain;
  }
  return undefined;
}
