// The kinds of values that a variable may hold: how a kind is called in the documentation, what it expects, and the
// schema that reads it, by the parsers of protocols/nsm. Set-but-empty is a value (empty text, list, map), but an
// error for durations, booleans and numbers, as in the reference.

import { z } from 'zod';
import { NsmError } from '../../protocols/errors.ts';
import { parseAddress } from '../../protocols/ipam/address.ts';
import {
  parseBoolean,
  parseDurationMs,
  parseGroups,
  parseInteger,
  parseList,
  parseMap,
  parsePrefixGroups,
} from '../../protocols/nsm/config-values.ts';
import {
  type AwarenessGroups,
  parseAwarenessGroups,
} from '../../protocols/nsm/awareness-groups.ts';
import { mechanismType } from '../../protocols/nsm/mechanism.ts';
import { parseServiceUrls } from '../../protocols/nsm/service-url.ts';
import {
  allRegistryPolicies,
  selectRegistryPolicies,
} from '../../protocols/authorization/registry-policies.ts';
import type { PortRange } from '../../protocols/ports/dataplane.ts';
import { parseUrl } from '../../protocols/nsm/urls.ts';

/** A kind of value; `label` and `expected` are for people. */
export interface Kind<T> {
  readonly label: string;
  readonly expected: string;
  readonly schema: z.ZodType<T, string>;
}

/** Parsers get no name of the value: the report of all errors names each variable. */
const noName = 'value';
const registryPoliciesExample = 'etc/nsm/opa/common/.*.rego';

/** Turns a parser into a kind; it refuses by undefined, or by an NsmError that may know better what it expected. */
function kind<T>(label: string, expected: string, parse: (text: string) => T | undefined): Kind<T> {
  const schema = z.string().transform((value, context) => {
    let message = expected;
    try {
      const result = parse(value);
      if (result !== undefined) return result;
    } catch (error) {
      if (!(error instanceof NsmError)) throw error;
      message = error.details.expected ?? expected;
    }
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
  return { label, expected, schema };
}

/** Negative durations are Go syntax, but mean nothing here. */
function parsePositiveDuration(value: string): number | undefined {
  const durationMs = parseDurationMs(value, noName);
  return durationMs >= 0 ? durationMs : undefined;
}

/** Component URLs, kept as texts. */
function parseUrls(value: string): readonly string[] {
  const each = parseList(value, noName);
  each.forEach(parseUrl);
  return each;
}

function parseUrlOrNothing(value: string): string {
  if (value !== '') parseUrl(value);
  return value;
}

function parsePorts(value: string): PortRange | undefined {
  const [, first = 0, last = 0] = (/^(\d{1,5})-(\d{1,5})$/.exec(value) ?? []).map(Number);
  return first > 0 && first <= last && last <= 65_535 ? { first, last } : undefined;
}

const urlExample = 'such as unix:///run/nsm.sock or tcp://127.0.0.1:5002';

export const text = kind('text', 'text', (value) => value);
export const portRange = kind(
  'ports',
  'UDP ports, first and last, such as 61000-65535',
  parsePorts,
);
export const duration = kind(
  'duration',
  'a duration such as 10m, 750ms or 1h30m',
  parsePositiveDuration,
);
/** A duration within bounds; `min` and `max` as they would be written. `orNone`: 0 turns it off. */
export const durationBetween = (min: string, max: string, orNone = false): Kind<number> =>
  kind(
    'duration',
    `a duration from ${min} to ${max}${orNone ? ', or 0 for none' : ''}`,
    (value) => {
      const durationMs = parseDurationMs(value, noName);
      const isWithin =
        durationMs >= parseDurationMs(min, noName) && durationMs <= parseDurationMs(max, noName);
      return isWithin || (orNone && durationMs === 0) ? durationMs : undefined;
    },
  );
/** The port of `tcp:PORT`; 0 where nothing is named. */
export const tcpProbe = kind('probe', 'empty, or tcp:PORT such as tcp:8080', (value) => {
  if (value === '') return 0;
  const port = Number(/^tcp:(\d{1,5})$/.exec(value)?.[1]);
  return port >= 1 && port <= 65_535 ? port : undefined;
});
export const boolean = kind('boolean', 'true or false', (value) => parseBoolean(value, noName));
export const texts = kind('list', 'texts separated by commas', (value) => parseList(value, noName));
const knownTypes: readonly string[] = Object.values(mechanismType);

/** In any case, as the schemes of NSM_NETWORK_SERVICES are. */
export const mechanismTypes = kind(
  'list of mechanisms',
  `mechanisms separated by commas: ${knownTypes.join(', ')}`,
  (value) => {
    const types = parseList(value, noName).map((each) => each.toUpperCase());
    return types.every((each) => knownTypes.includes(each)) ? types : undefined;
  },
);
export const registryPolicies = kind(
  'list of rules',
  `names of ${[...allRegistryPolicies].join(', ')}, or expressions such as ${registryPoliciesExample}`,
  (value) => selectRegistryPolicies(parseList(value, noName)),
);
export const labels = kind(
  'map',
  'key:value pairs separated by commas',
  (value): ReadonlyMap<string, string> => new Map(Object.entries(parseMap(value, noName))),
);
export const url = kind('URL', `empty, or a URL ${urlExample}`, parseUrlOrNothing);
export const urls = kind('list of URLs', `URLs ${urlExample}, separated by commas`, parseUrls);

/** Where nats-server is reached, with credentials if it wants them; several for a cluster. */
export const natsServerUrl = kind(
  'list of URLs',
  'URLs such as nats://127.0.0.1:4222, separated by commas',
  (value) =>
    value.split(',').every((each) => /^(?:nats|tls|ws|wss):\/\/[^\s/,]+$/.test(each))
      ? value
      : undefined,
);

/** What a client requests; checked here, kept as texts. */
export const serviceUrls = kind(
  'list of URLs',
  'kernel://service[@domain]/interface?label=value, separated by commas',
  (value): readonly string[] => {
    parseServiceUrls(value);
    return parseList(value, noName);
  },
);
export const awarenessGroups = kind(
  'groups of URLs',
  'groups of URLs such as [kernel://a,kernel://b],[kernel://c], each URL once',
  (value): AwarenessGroups => parseAwarenessGroups(value, noName),
);
/** The address alone; a prefix length behind it, as some manifests have, says nothing. */
export const ipAddress = kind('IP address', 'an IPv4 or IPv6 address', (value) => {
  const [, address] = /^([^/]*)(?:\/\d{1,3})?$/.exec(value) ?? [];
  return address === undefined || parseAddress(address) === undefined ? undefined : address;
});

export const integer = (min: number, max: number): Kind<number> =>
  kind('integer', `an integer from ${min} to ${max}`, (value) =>
    parseInteger(value, noName, { min, max }),
  );

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

/** `a,b` is two groups of one prefix each, `[a,b],c` a group of two and a group of one; kept as texts. */
export const cidrGroups = kind(
  'CIDR groups',
  'prefixes such as 10.0.0.0/24,[10.1.0.0/24,fd00::/64]',
  (value): readonly (readonly string[])[] => {
    parsePrefixGroups(value, noName);
    return parseGroups(value, noName);
  },
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
