// Protects every process from malformed and hostile input: each decoder and parser of the protocols either returns a
// value or throws NsmError INVALID_ARGUMENT, whatever it is given, and the input is at least half mutations of valid
// encodings. A failure prints the seed and the input.

import { create, type DescMessage, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { readNetworkServices } from '../../bin/network-service-file.ts';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import {
  parseAddress,
  parseCidr,
  parsePrefix,
  requireAddress,
  requirePrefix,
} from '../../protocols/ipam/address.ts';
import { LeaseBook } from '../../protocols/ipam/lease-book.ts';
import { leaseOwnerOf } from '../../protocols/ipam/lease-key.ts';
import { PointToPointPools } from '../../protocols/ipam/point-to-point.ts';
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
  validateEndpointQuery,
  validateService,
  validateServiceQuery,
  validateEndpoint,
} from '../../protocols/nsm/endpoint-validation.ts';
import { parseTokenExpiry, refreshDelayMs } from '../../protocols/nsm/expiry.ts';
import {
  type Connection,
  ConnectionEventSchema,
  ConnectionSchema,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { PrefixRequestSchema, PrefixResponseSchema } from '../../protocols/nsm/gen/ipam_pb.ts';
import { NetworkServiceRequestSchema } from '../../protocols/nsm/gen/networkservice_pb.ts';
import {
  type NetworkService,
  NetworkServiceEndpointQuerySchema,
  NetworkServiceEndpointResponseSchema,
  NetworkServiceEndpointSchema,
  NetworkServiceQuerySchema,
  NetworkServiceResponseSchema,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { readIpsec } from '../../protocols/nsm/ipsec-mechanism.ts';
import { readKernel } from '../../protocols/nsm/kernel-mechanism.ts';
import { matchEndpoints, matchForwarders } from '../../protocols/nsm/match.ts';
import { readMemif } from '../../protocols/nsm/memif-mechanism.ts';
import { matchesSelector, viewOfNextHopEvent } from '../../protocols/nsm/monitor-selector.ts';
import { enterPath, leavePath, trimPath } from '../../protocols/nsm/path.ts';
import { endpointMatchesQuery, serviceMatchesQuery } from '../../protocols/nsm/registry-match.ts';
import {
  validateConnection,
  validateMonitorSelector,
  validateRequest,
} from '../../protocols/nsm/request-validation.ts';
import { parseServiceUrl, parseServiceUrls } from '../../protocols/nsm/service-url.ts';
import { renderTemplate } from '../../protocols/nsm/template.ts';
import { parseUrl } from '../../protocols/nsm/urls.ts';
import { readVxlan, vniParity } from '../../protocols/nsm/vxlan-mechanism.ts';
import { readWireguard } from '../../protocols/nsm/wireguard-mechanism.ts';
import {
  mutateText,
  mutateValue,
  mutations,
  pick,
  randomBytes,
  randomText,
  seeded,
} from './mutate.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? 20_261_120);

/** Runs the action; anything but a value or an NsmError INVALID_ARGUMENT fails with seed and input. */
function survives(action: () => void, input: unknown): void {
  try {
    action();
  } catch (thrown) {
    if (thrown instanceof NsmError && thrown.code === 'INVALID_ARGUMENT') return;
    const shown =
      input instanceof Uint8Array ? Buffer.from(input).toString('hex') : JSON.stringify(input);
    const { stack, message } = asNsmError(thrown);
    expect.unreachable(`seed ${seed}, input ${shown.slice(0, 2000)}: ${stack ?? message}`);
  }
}

/** A decoded message, or undefined where the bytes are no protobuf; that error belongs to the library. */
function decode<T extends DescMessage>(schema: T, bytes: Uint8Array) {
  try {
    return fromBinary(schema, bytes);
  } catch {
    return undefined;
  }
}

const connection = create(ConnectionSchema, {
  id: 'id-1',
  networkService: 'svc',
  mechanism: {
    cls: 'LOCAL',
    type: 'KERNEL',
    parameters: {
      inodeURL: 'inode://4/1',
      name: 'nsm-1',
      socketfile: '@/tmp/memif/c/memif.socket',
      src_ip: '10.0.0.1',
      src_public_key: 'JElsv7s8QJN9WQe7u1z9Vkukr1dw0ldMYP1qXgV7zHs=',
    },
  },
  context: {
    MTU: 1446,
    extraContext: { a: 'b' },
    ipContext: {
      srcIpAddrs: ['10.0.0.1/32', '2001:db8::1/128'],
      dstIpAddrs: ['10.0.0.0/32'],
      srcRoutes: [{ prefix: '10.0.0.0/32', nextHop: '10.0.0.9' }],
      excludedPrefixes: ['10.96.0.0/12'],
      ipNeighbors: [{ ip: '10.0.0.2', hardwareAddress: '02:00:00:00:00:01' }],
      extraPrefixRequest: [
        { addrFamily: { family: 1 }, prefixLen: 64, requiredNumber: 1, requestedNumber: 1 },
      ],
      policies: [{ from: '10.0.0.1', proto: '6', dstPort: '80', routes: [{ prefix: '::/0' }] }],
    },
    dnsContext: { configs: [{ dnsServerIps: ['10.0.0.10'], searchDomains: ['a.b'] }] },
    ethernetContext: { srcMac: '02:00:00:00:00:03', vlanTag: 4 },
  },
  labels: { app: 'x', nodeName: 'n1' },
  path: {
    index: 1,
    pathSegments: ['nsc', 'nsmgr', 'fwd'].map((name, at) => ({
      name,
      id: `id-${at}`,
      token: 'a.b.c',
      expires: { seconds: 1_800_000_000n, nanos: 7 },
      metrics: { server_interface: 'KERNEL/nsm-1' },
    })),
  },
});

const service = create(NetworkServiceSchema, {
  name: 'svc',
  payload: 'IP',
  matches: [
    {
      sourceSelector: { app: '{{ .app }}' },
      routes: [{ destinationSelector: { nodeName: '{{index . "nodeName"}}' }, weight: 1 }],
      fallthrough: true,
    },
    { metadata: { labels: { p2p: 'true' } } },
  ],
  pathIds: ['spiffe://a/b'],
});

const endpoint = create(NetworkServiceEndpointSchema, {
  name: 'nse',
  networkServiceNames: ['svc'],
  networkServiceLabels: { svc: { labels: { nodeName: 'n1', p2p: 'true' } } },
  url: 'tcp://10.0.0.1:5001',
  expirationTime: { seconds: 1_800_000_000n, nanos: 5 },
});

function useConnection(each: Connection): void {
  validateConnection(each);
  const entered = enterPath(each, 'nsmgr', () => 'made');
  trimPath(leavePath(entered, each));
  refreshDelayMs(entered, 0);
  viewOfNextHopEvent(connection, each, false);
  assignAddresses(each);
  if (each.mechanism !== undefined) {
    vniParity(each.mechanism);
    readVxlan(each.mechanism);
    for (const read of [readMemif, readWireguard, readIpsec, readKernel]) {
      try {
        read(each.mechanism);
      } catch (error) {
        if (asNsmError(error).code !== 'INVALID_ARGUMENT') throw error;
      }
    }
  }
}

/** Exclusions may well leave no address: that is an answer too. */
function assignAddresses(each: Connection): void {
  const pools = new PointToPointPools([[requirePrefix('10.0.0.0/24', 'fuzz')]]);
  const book = new LeaseBook(pools, { keepMs: 1_000, policy: 'polite' });
  try {
    book.assign({
      connectionId: each.id,
      owner: () => leaseOwnerOf(each),
      ipContext: each.context?.ipContext,
      nowMs: 0,
    });
  } catch (thrown) {
    if (asNsmError(thrown).code !== 'RESOURCE_EXHAUSTED') throw thrown;
  }
}

function useService(each: NetworkService): void {
  validateServiceQuery(each);
  serviceMatchesQuery(each, service);
  const input = { service: each, labels: connection.labels, candidates: [endpoint] };
  matchForwarders({ ...input, forwarderService: 'svc' }).explain();
  matchEndpoints(input).explain();
  validateService(each);
}

interface Target<T extends Message = Message> {
  readonly schema: DescMessage;
  readonly valid: T;
  readonly use: (message: never) => void;
}

function target<T extends DescMessage>(
  schema: T,
  init: Parameters<typeof create<T>>[1],
  use: (message: ReturnType<typeof create<T>>) => void,
): Target {
  return { schema, valid: create(schema, init), use };
}

const targets: readonly Target[] = [
  target(ConnectionSchema, connection, useConnection),
  target(
    NetworkServiceRequestSchema,
    {
      connection,
      mechanismPreferences: [{ cls: 'REMOTE', type: 'VXLAN', parameters: { src_ip: '10.0.0.1' } }],
    },
    (each) => {
      validateRequest(each);
      if (each.connection !== undefined) useConnection(each.connection);
    },
  ),
  target(
    MonitorScopeSelectorSchema,
    { pathSegments: [{ id: 'id-0' }], networkServices: ['svc'] },
    (each) => {
      validateMonitorSelector(each);
      matchesSelector(each, connection);
    },
  ),
  target(ConnectionEventSchema, { type: 1, connections: { 'id-1': connection } }, (each) => {
    for (const one of Object.values(each.connections)) useConnection(one);
  }),
  target(NetworkServiceSchema, service, useService),
  target(NetworkServiceQuerySchema, { networkService: service, watch: true }, (each) => {
    if (each.networkService !== undefined) useService(each.networkService);
  }),
  target(NetworkServiceResponseSchema, { networkService: service, deleted: true }, (each) => {
    if (each.networkService !== undefined) useService(each.networkService);
  }),
  target(NetworkServiceEndpointSchema, endpoint, (each) => {
    endpointMatchesQuery(each, endpoint);
    matchEndpoints({ service, labels: connection.labels, candidates: [each] }).explain();
    validateEndpoint(each);
  }),
  target(
    NetworkServiceEndpointQuerySchema,
    { networkServiceEndpoint: endpoint, watch: true },
    (each) => {
      if (each.networkServiceEndpoint === undefined) return;
      validateEndpointQuery(each.networkServiceEndpoint);
      endpointMatchesQuery(each.networkServiceEndpoint, endpoint);
    },
  ),
  target(
    NetworkServiceEndpointResponseSchema,
    { networkServiceEndpoint: endpoint, deleted: true },
    (each) => {
      if (each.networkServiceEndpoint !== undefined)
        validateEndpointQuery(each.networkServiceEndpoint);
    },
  ),
  target(
    PrefixRequestSchema,
    { type: 1, prefix: '10.0.0.0/24', excludePrefixes: ['10.0.1.0/24'] },
    (each) => {
      for (const text of [each.prefix, ...each.excludePrefixes]) requirePrefix(text, 'prefix');
    },
  ),
  target(
    PrefixResponseSchema,
    { prefix: '10.0.0.0/24', excludePrefixes: ['10.0.1.0/24'] },
    (each) => {
      requirePrefix(each.prefix, 'prefix');
    },
  ),
];

describe('decoding and validating', () => {
  const encodings = targets.map(({ schema, valid }) => toBinary(schema, valid));
  it.each(targets.map((each, at) => [each.schema.typeName, each, encodings[at]] as const))(
    '%s survives mutations of its bytes, of its values, and random bytes',
    (_, { schema, valid, use }, validBytes) => {
      const random = seeded(seed);
      const mutated = mutations(random, validBytes ?? new Uint8Array(), encodings);
      const next = (kind: number): Uint8Array => {
        if (kind === 0) return randomBytes(random, 200);
        return kind < 3 ? mutated.next().value : toBinary(schema, mutateValue(random, valid));
      };
      let decoded = 0;
      for (let count = 0; count < 3000; count += 1) {
        const bytes = next(count % 6);
        const message = decode(schema, bytes);
        if (message === undefined) continue;
        decoded += 1;
        survives(() => use(message as never), bytes);
      }
      expect(decoded).toBeGreaterThan(1500);
    },
  );
});

const urls = [
  'unix:///run/a.sock',
  'tcp://[::1]:5001',
  'inode://4/42',
  'nats://d/n/c',
  'memory:x',
  'registry:5002',
];
const serviceUrls = [
  'kernel://svc@dc.example.com/nsm-1?app=x&b=%20',
  'memif://svc',
  'kernel://a,kernel://b/if0?x=y',
];
const addresses = ['10.0.0.1/24', '2001:db8::1/64', '::ffff:10.0.0.1', '::', '255.255.255.255/32'];
const groups = ['[10.0.0.0/24,10.1.0.0/24],2001:db8::/64', '10.0.0.0/8'];
const templates = [
  '{{ .app }}-{{index . "nodeName"}}',
  '{{- /* c */ -}} x {{ `raw` }}',
  '{{"a\\"b"}}',
];
const scalars = ['1h30m', '-1.5s', '750ms', 'true', '4789', 'app:x,p2p:true', 'a,b,c'];
const times = ['2026-11-20T17:00:00.123456789+01:30', '0001-01-01T00:00:00Z'];
const documents = [
  'kind: NetworkService\nmetadata: {name: a}\nspec:\n  payload: IP\n  matches:\n    - source_selector: {app: x}\n      routes:\n        - destination_selector: {a: "{{.b}}"}\n          weight: 1\n      fallthrough: true\n',
  'name: a\nmatches: &m\n  - metadata: {labels: {p2p: "true"}}\n---\nname: b\n',
];

/** Parser, valid texts, number of inputs. */
const parsers: readonly (readonly [string, readonly string[], (text: string) => void, number])[] = [
  [
    'service URLs',
    serviceUrls,
    (text) => void [parseServiceUrls(text), parseServiceUrl(text)],
    6000,
  ],
  ['component URLs', urls, (text) => void parseUrl(text), 6000],
  [
    'addresses',
    addresses,
    (text) => {
      parseAddress(text);
      parseCidr(text);
      parsePrefix(text);
      requireAddress(text, 'fuzz');
    },
    6000,
  ],
  [
    'CIDR groups',
    groups,
    (text) => void [parseGroups(text, 'X'), parsePrefixGroups(text, 'X')],
    6000,
  ],
  ['templates', templates, (text) => void renderTemplate(text, connection.labels), 6000],
  ['durations', scalars, (text) => void parseDurationMs(text, 'X'), 3000],
  ['booleans', scalars, (text) => void parseBoolean(text, 'X'), 1000],
  ['integers', scalars, (text) => void parseInteger(text, 'X', { min: 0, max: 65_535 }), 1000],
  ['lists and maps', scalars, (text) => void [parseList(text, 'X'), parseMap(text, 'X')], 3000],
  ['token expiries', times, (text) => void parseTokenExpiry(text), 3000],
  ['NetworkService files', documents, (text) => void readNetworkServices(text, 'fuzz.yaml'), 3000],
];

describe('parsing', () => {
  it.each(parsers)('%s survives mutations and random texts', (_, valid, parse, inputs) => {
    const random = seeded(seed);
    for (let count = 0; count < inputs; count += 1) {
      const text =
        count % 6 === 5 ? randomText(random, 20) : mutateText(random, pick(random, valid), valid);
      survives(() => parse(text), text);
    }
  });

  it.each(parsers)('%s does not hang on long repetitions', (_, valid, parse) => {
    for (const piece of [
      'a',
      '[',
      '{{',
      '{{- ',
      '1h',
      '.',
      ':',
      ',',
      '%41',
      '"',
      '&a *a ',
      ' ',
      '/*',
      '\n- ',
      '{a: ',
    ]) {
      const long = piece.repeat(10_000 / piece.length);
      for (const text of [long, `${valid[0]}${long}`, `${long}${valid[0]}`])
        survives(() => parse(text), text);
    }
  });
});
