// The kinds of values that a variable may hold: how a kind is called in the documentation, what it expects, and the
// schema that reads it. Parsing follows the reference: set-but-empty is a value (empty text, list, map), but an error
// for durations, booleans and numbers.

import { isIP } from 'node:net';
import { z } from 'zod';

/** A kind of value; `label` and `expected` are for people. */
export interface Kind<T> {
  readonly label: string;
  readonly expected: string;
  readonly schema: z.ZodType<T, string>;
}

/** Turns a parser that returns undefined for what it cannot read into a kind. */
function kind<T>(label: string, expected: string, parse: (text: string) => T | undefined): Kind<T> {
  const schema = z.string().transform((text, context) => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message: `expected ${expected}` });
    return z.NEVER;
  });
  return { label, expected, schema };
}

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

/** Go's duration syntax (time.ParseDuration) in milliseconds; negative durations have no meaning here. */
function parseDuration(text: string): number | undefined {
  if (text === '0' || text === '+0') return 0;
  if (!/^\+?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(text)) return undefined;
  const parts = text.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g);
  const totalMs = [...parts].reduce(
    (sum, [, amount, unit]) => sum + Number(amount) * (unitMs[unit ?? ''] ?? 0),
    0,
  );
  // Go keeps nanoseconds in 64 bits, which end at about 292 years.
  return totalMs <= 9_223_372_036_854 ? totalMs : undefined;
}

const booleans = new Map<string, boolean>([
  ...['1', 't', 'T', 'true', 'TRUE', 'True'].map((text) => [text, true] as const),
  ...['0', 'f', 'F', 'false', 'FALSE', 'False'].map((text) => [text, false] as const),
]);

function parseInteger(text: string, min: number, max: number): number | undefined {
  const value = /^[+-]?(?:\d+|0[xX][0-9a-fA-F]+)$/.test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max ? value : undefined;
}

const split = (text: string): readonly string[] => (text.trim() === '' ? [] : text.split(','));

function parseMap(text: string): ReadonlyMap<string, string> | undefined {
  const pairs = split(text).map((pair) => pair.split(':'));
  if (pairs.some((pair) => pair.length !== 2)) return undefined;
  return new Map(pairs.map(([key = '', value = '']) => [key, value]));
}

// Neither Go's nor the WHATWG parser fits: `tcp://:5002` is valid for a listener.
const isUrl = (text: string): boolean => /^[a-z][a-z0-9+.-]*:[^\s]+$/i.test(text);

const urlExample = 'such as unix:///run/nsm.sock or tcp://127.0.0.1:5002';

export const text = kind('text', 'text', (value) => value);
export const duration = kind('duration', 'a duration such as 750ms, 10m or 1h30m', parseDuration);
export const boolean = kind('boolean', 'true or false', (value) => booleans.get(value));
export const texts = kind('list', 'texts separated by commas', split);
export const labels = kind('map', 'key:value pairs separated by commas', parseMap);
export const url = kind('URL', `empty, or a URL ${urlExample}`, (value) =>
  value === '' || isUrl(value) ? value : undefined,
);
export const urls = kind('list of URLs', `URLs ${urlExample}, separated by commas`, (value) =>
  split(value).every(isUrl) ? split(value) : undefined,
);
export const ipAddress = kind('IP address', 'an IPv4 or IPv6 address', (value) =>
  isIP(value) === 0 ? undefined : value,
);

export const integer = (min: number, max: number): Kind<number> =>
  kind('integer', `an integer from ${min} to ${max}`, (value) => parseInteger(value, min, max));

export const oneOf = <const T extends string>(...choices: readonly T[]): Kind<T> =>
  kind(choices.join(' or '), `one of ${choices.join(', ')}`, (value) =>
    choices.find((choice) => choice === value),
  );

/** As `oneOf`, in any case; the level names of the reference are written in both. */
export const logLevel = kind(
  'log level',
  'one of trace, debug, info, warn, error, in any case',
  (value) =>
    (['trace', 'debug', 'info', 'warn', 'error'] as const).find(
      (level) => level === value.toLowerCase().replace(/^(warn)ing$/, '$1'),
    ),
);

/** `a,b` is two groups of one prefix each, `[a,b],c` a group of two and a group of one. */
function parseCidrGroups(value: string): readonly (readonly string[])[] | undefined {
  if (value === '') return [];
  if (!/^(?:\[[^[\]]+\]|[^[\],]+)(?:,(?:\[[^[\]]+\]|[^[\],]+))*$/.test(value)) return undefined;
  const groups = [...value.matchAll(/\[([^\]]+)\]|([^,]+)/g)].map(([, group, single]) =>
    (group ?? single ?? '').split(',').map((prefix) => prefix.trim()),
  );
  return groups.flat().every(isCidr) ? groups : undefined;
}

function isCidr(value: string): boolean {
  const [address = '', length = '', ...rest] = value.split('/');
  const lengthMax = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return rest.length === 0 && /^\d{1,3}$/.test(length) && Number(length) <= lengthMax;
}

export const cidrGroups = kind(
  'CIDR groups',
  'prefixes such as 10.0.0.0/24,[10.1.0.0/24,fd00::/64]',
  parseCidrGroups,
);

const dnsConfigList = z.array(
  z.strictObject({
    dns_server_ips: z.array(z.string()).default([]),
    search_domains: z.array(z.string()).default([]),
  }),
);

/** Name servers and search domains that an Endpoint hands to its clients. */
export interface DnsConfigValue {
  readonly dnsServerIps: readonly string[];
  readonly searchDomains: readonly string[];
}

function parseDnsConfigs(value: string): readonly DnsConfigValue[] | undefined {
  try {
    return dnsConfigList.parse(JSON.parse(value)).map((entry) => ({
      dnsServerIps: entry.dns_server_ips,
      searchDomains: entry.search_domains,
    }));
  } catch {
    return undefined;
  }
}

export const dnsConfigs = kind(
  'JSON',
  'a JSON array such as [{"dns_server_ips":["10.0.0.1"],"search_domains":["example.org"]}]',
  parseDnsConfigs,
);
