// Values of the reference's NSM_* variables: text to value, with Go's own syntax for durations and booleans.
// `name` is the variable, for errors. Whether a default applies is the caller's business: set-but-empty is a value, an
// empty list, map or text, but an error for durations, booleans and numbers (nsm-wire 10 of the reference).

import { parsePrefix, type Prefix } from '../ipam/address.ts';
import { NsmError } from '../errors.ts';
import { limits } from '../limits.ts';

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

// Go's time.Duration holds 2^63-1 nanoseconds.
const durationMsMax = 9_223_372_036_854;

/** A Go duration (`10m`, `750ms`, `1h30m`, `-1.5s`, `0`) in milliseconds. Throws INVALID_ARGUMENT. */
export function parseDurationMs(text: string, name: string): number {
  checkLength(text, name);
  const parts =
    /^([+-]?)((?:(?:\d{1,20}\.?\d{0,20}|\.\d{1,20})(?:ns|us|µs|μs|ms|s|m|h)){1,16})$/.exec(text);
  const bare = /^[+-]?0$/.test(text);
  if (parts === null && !bare) throw badDuration(text, name);
  if (parts === null) return 0;
  let total = 0;
  for (const [, number, unit] of (parts[2] ?? '').matchAll(/([\d.]+)([a-zµμ]+)/g)) {
    total += Number(number) * (unitMs[unit ?? ''] ?? Number.NaN);
  }
  if (!(total <= durationMsMax)) throw badDuration(text, name);
  return parts[1] === '-' && total !== 0 ? -total : total;
}

function badDuration(text: string, name: string): NsmError {
  return refuse(name, 'a duration such as 10m, 750ms or 1h30m', text);
}

const truths = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const falsehoods = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);

/** A Go boolean. Throws INVALID_ARGUMENT. */
export function parseBoolean(text: string, name: string): boolean {
  if (truths.has(text)) return true;
  if (falsehoods.has(text)) return false;
  throw refuse(name, 'true or false (or 1, t, T, TRUE, True, 0, f, F, FALSE, False)', text);
}

/** A decimal integer from `min` to `max`. Throws INVALID_ARGUMENT. */
export function parseInteger(
  text: string,
  name: string,
  bounds: { readonly min: number; readonly max: number },
): number {
  const value = /^[+-]?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= bounds.min && value <= bounds.max) return value + 0;
  throw refuse(name, `a whole number from ${bounds.min} to ${bounds.max}`, text);
}

/** A comma-separated list; empty text is an empty list. */
export function parseList(text: string, name: string): readonly string[] {
  checkLength(text, name);
  return text === '' ? [] : text.split(',');
}

/** `key:value,key2:value2`; empty text is an empty map. Throws INVALID_ARGUMENT. */
export function parseMap(text: string, name: string): Readonly<Record<string, string>> {
  checkLength(text, name);
  const entries = new Map<string, string>();
  for (const pair of text.trim() === '' ? [] : text.split(',')) {
    const parts = pair.split(':');
    const [key = '', value = ''] = parts;
    if (parts.length !== 2 || key === '') {
      throw refuse(name, 'key:value pairs with commas between them, no ":" in values', pair);
    }
    entries.set(key, value);
  }
  if (entries.size > limits.mapEntries) {
    throw refuse(name, `at most ${limits.mapEntries} entries`, `${entries.size}`);
  }
  return Object.fromEntries(entries);
}

/**
 * `[a,b],[c],d` as groups of texts: what is in brackets is a group, what is not is a group of its own. Brackets do not
 * nest; empty text is no group. Throws INVALID_ARGUMENT.
 */
export function parseGroups(text: string, name: string): readonly (readonly string[])[] {
  checkLength(text, name);
  const groups: (readonly string[])[] = [];
  let rest = text.trim();
  while (rest !== '') {
    const item = /^(?:\[([^[\]]*)\]|([^[\],]+))\s*(?:,\s*(?=\S)|$)/.exec(rest);
    if (item === null) throw refuse(name, 'groups such as [a,b],c', rest.slice(0, 64));
    const members = (item[1] ?? item[2] ?? '').split(',').map((each) => each.trim());
    if (members.includes('')) throw refuse(name, 'no empty entry in a group', item[0]);
    groups.push(members);
    rest = rest.slice(item[0].length);
  }
  return groups;
}

/**
 * CIDR groups of NSM_CIDR_PREFIX. One address pair comes from each group: `[a,b],[c]` is a dual stack, where b serves
 * once a is full. Without brackets every prefix is a group of its own. Throws INVALID_ARGUMENT.
 */
export function parsePrefixGroups(text: string, name: string): readonly (readonly Prefix[])[] {
  return parseGroups(text, name).map((group) =>
    group.map((each) => {
      const prefix = each.includes('/') ? parsePrefix(each) : undefined;
      if (prefix === undefined) {
        throw refuse(
          name,
          'CIDR prefixes such as 10.0.0.0/24 or [10.0.0.0/24],2001:db8::/64',
          each,
        );
      }
      return prefix;
    }),
  );
}

function checkLength(text: string, name: string): void {
  if (text.length > limits.configTextLength) {
    throw refuse(name, `at most ${limits.configTextLength} characters`, `${text.length}`);
  }
}

function refuse(name: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', `the value of ${name} cannot be used`, {
    rule: name,
    expected,
    found: JSON.stringify(found.slice(0, 200)),
  });
}
