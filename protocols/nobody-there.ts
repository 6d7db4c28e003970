// Whether a call found nobody to ask: what it was about has not been heard of, and whoever should be there is away.

import type { NsmError } from './errors.ts';

/** Rules of the bindings for a URL behind which nobody is. */
const rules: ReadonlySet<string> = new Set(['listener', 'responders', 'dialer']);

/** Said by this process's own binding; a hop that names itself was there. */
export function foundNobody({ details: { hop, rule } }: NsmError): boolean {
  return hop === undefined && rule !== undefined && rules.has(rule);
}
