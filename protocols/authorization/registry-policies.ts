// Which rules of the reference are asked before a call to a registry, by what NSM_REGISTRY_SERVER_POLICIES selects. The
// reference takes paths of Rego files there, or expressions over such paths; those beneath etc/nsm/opa are built into it,
// and stand here for rules of the same names. Other files cannot be run here, and are never passed over in silence.

import { NsmError } from '../errors.ts';

/** What the reference keeps beneath etc/nsm/opa for registries and their clients. */
const builtIn = [
  'etc/nsm/opa/common/tokens_chained.rego',
  'etc/nsm/opa/common/tokens_expired.rego',
  'etc/nsm/opa/common/tokens_valid.rego',
  'etc/nsm/opa/registry/client_allowed.rego',
  'etc/nsm/opa/server/prev_token_signed.rego',
  'etc/nsm/opa/client/next_token_signed.rego',
] as const;

const folder = 'etc/nsm/opa/';

export type RegistryPolicies = ReadonlySet<string>;

const nameOf = (file: string): string => file.replace(/^.*\//, '').replace(/\.rego$/, '');

/** All rules of the reference. */
export const allRegistryPolicies: RegistryPolicies = new Set(builtIn.map(nameOf));

/** Names of the rules that are selected. Errors: INVALID_ARGUMENT for a file, and for what selects nothing. */
export function selectRegistryPolicies(entries: readonly string[]): RegistryPolicies {
  return new Set(entries.flatMap(selectedBy));
}

function selectedBy(entry: string): readonly string[] {
  if (allRegistryPolicies.has(entry)) return [entry];
  if (!entry.startsWith(folder)) throw refused('a policy file cannot be run', entry);
  const mask = expressionOf(entry);
  const found = builtIn.filter((file) => mask?.test(file));
  if (found.length > 0) return found.map(nameOf);
  throw refused('a policy selects no rule', entry);
}

function expressionOf(entry: string): RegExp | undefined {
  try {
    return new RegExp(`^(?:${entry})$`);
  } catch {
    return undefined;
  }
}

function refused(message: string, entry: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', message, {
    rule: 'registry-policies',
    expected: `names of ${[...allRegistryPolicies].join(', ')}, or expressions over etc/nsm/opa/*/<name>.rego`,
    found: JSON.stringify(entry.slice(0, 200)),
    remedy:
      'say what may use what in VWIRE_POLICY_FILE, or in a policy of your own, VWIRE_POLICY_WASM',
  });
}
