// Protects every listener from oversized and senseless messages: each bound refuses one step beyond it, naming the
// place, and what peers really send passes.

import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { limits } from '../../../protocols/limits.ts';
import {
  validateEndpoint,
  validateEndpointQuery,
  validateService,
} from '../../../protocols/nsm/endpoint-validation.ts';
import { MonitorScopeSelectorSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import { NetworkServiceRequestSchema } from '../../../protocols/nsm/gen/networkservice_pb.ts';
import {
  NetworkServiceEndpointSchema,
  NetworkServiceSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import {
  validateMonitorSelector,
  validateRequest,
} from '../../../protocols/nsm/request-validation.ts';

function ruleOf(action: () => void): string {
  try {
    action();
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(NsmError);
    const { code, details } = thrown as NsmError;
    expect(code).toBe('INVALID_ARGUMENT');
    expect(details.expected).toBeTruthy();
    expect(details.found).toBeTruthy();
    return details.rule ?? '';
  }
  return 'accepted';
}

const many = (count: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, 'v']));
const long = (length: number): string => 'x'.repeat(length);

type Request = MessageInitShape<typeof NetworkServiceRequestSchema>;
type ConnectionInit = Exclude<Request['connection'], undefined>;

describe('requests', () => {
  const ruleOfConnection = (connection: ConnectionInit): string =>
    ruleOf(() => validateRequest(create(NetworkServiceRequestSchema, { connection })));
  const ruleOfIp = (ipContext: object): string => ruleOfConnection({ context: { ipContext } });

  it('pass without a connection, and as the reference sends them', () => {
    expect(ruleOf(() => validateRequest(create(NetworkServiceRequestSchema)))).toBe('accepted');
    const usual: ConnectionInit = {
      id: 'nsc-0',
      networkService: 'svc@dc.example.com',
      labels: { app: 'x' },
      path: { pathSegments: [{ name: 'nsc', id: 'nsc-0', token: long(900) }] },
      context: {
        MTU: 1500,
        ipContext: {
          srcIpAddrs: ['10.0.0.1/32', '2001:db8::1/128'],
          srcRoutes: [
            { prefix: '10.0.0.0/32', nextHop: '' },
            { prefix: '::/0', nextHop: 'fe80::1' },
          ],
          excludedPrefixes: ['10.96.0.0/12'],
          ipNeighbors: [{ ip: '10.0.0.2', hardwareAddress: '02:00:00:00:00:01' }],
          extraPrefixRequest: [
            { addrFamily: {}, prefixLen: 24, requiredNumber: 1, requestedNumber: 2 },
          ],
          policies: [{ from: '10.0.0.1', proto: '6', dstPort: '80', srcPort: '1000-2000' }],
        },
        dnsContext: { configs: [{ dnsServerIps: ['10.0.0.10'], searchDomains: ['a.b'] }] },
        ethernetContext: { srcMac: '', dstMac: '02:00:00:00:00:02', vlanTag: 4095 },
      },
    };
    expect(ruleOfConnection(usual)).toBe('accepted');
  });

  it.each<[string, ConnectionInit, string]>([
    ['labels', { labels: many(limits.mapEntries + 1) }, 'connection.labels'],
    [
      'a label value',
      { labels: { app: long(limits.mapValueLength + 1) } },
      'connection.labels.app',
    ],
    ['a label key', { labels: { [long(limits.mapKeyLength + 1)]: '' } }, 'connection.labels, key'],
    ['a service', { networkService: long(limits.nameLength + 1) }, 'connection.network_service'],
    ['an id', { id: long(limits.idLength + 1) }, 'id'],
    ['a state', { state: 9 as never }, 'connection.state'],
    [
      'a parameter',
      { mechanism: { parameters: many(limits.mapEntries + 1) } },
      'connection.mechanism.parameters',
    ],
    ['an index', { path: { index: 1, pathSegments: [{}] } }, 'path.index'],
    [
      'metrics',
      { path: { pathSegments: [{ metrics: many(limits.mapEntries + 1) }] } },
      'path_segments[0].metrics',
    ],
    [
      'nanoseconds',
      { path: { pathSegments: [{ expires: { nanos: -1 } }] } },
      'path_segments[0].expires',
    ],
    [
      'seconds',
      { path: { pathSegments: [{ expires: { seconds: 1n << 60n } }] } },
      'path_segments[0].expires',
    ],
    ['a MAC', { context: { ethernetContext: { srcMac: '02:00' } } }, 'ethernet_context.src_mac'],
    ['a VLAN', { context: { ethernetContext: { vlanTag: 4096 } } }, 'ethernet_context.vlan_tag'],
  ])('are refused for %s', (_, connection, rule) => {
    expect(ruleOfConnection(connection)).toContain(rule);
  });

  it.each([
    [{ srcIpAddrs: ['10.0.0.256/32'] }, 'src_ip_addrs[0]'],
    [{ dstIpAddrs: ['10.0.0.1/32', ''] }, 'dst_ip_addrs[1]'],
    [{ srcRoutes: [{ prefix: 'default' }] }, 'src_routes[0].prefix'],
    [{ dstRoutes: [{ prefix: '::/0', nextHop: '10.0.0.1/32' }] }, 'dst_routes[0].nextHop'],
    [{ excludedPrefixes: ['x'] }, 'excluded_prefixes[0]'],
    [
      { ipNeighbors: [{ ip: '10.0.0.1', hardwareAddress: 'zz' }] },
      'ip_neighbors[0].hardware_address',
    ],
    [
      { extraPrefixRequest: [{ prefixLen: 8, requiredNumber: 1, requestedNumber: 1 }] },
      'extra_prefix_request[0]',
    ],
    [{ policies: [{ dstPort: '2-1' }] }, 'policies[0].dst_port'],
    [{ policies: [{ proto: 'tcp' }] }, 'policies[0].proto'],
    [{ policies: [{ routes: [{ prefix: '' }] }] }, 'policies[0].routes[0].prefix'],
    [
      { srcIpAddrs: Array.from({ length: limits.listEntries + 1 }, () => '10.0.0.1/32') },
      'src_ip_addrs',
    ],
  ])('are refused for the addresses %#', (ipContext, rule) => {
    expect(ruleOfIp(ipContext)).toContain(rule);
  });

  it('are refused for too many preferences', () => {
    const mechanismPreferences = Array.from(
      { length: limits.mechanismPreferences + 1 },
      () => ({}),
    );
    const request = create(NetworkServiceRequestSchema, { mechanismPreferences });
    expect(ruleOf(() => validateRequest(request))).toBe('mechanism_preferences');
  });

  it('have a monitor selector within the same bounds', () => {
    const pathSegments = Array.from({ length: limits.pathSegments + 1 }, () => ({}));
    const wide = create(MonitorScopeSelectorSchema, { pathSegments });
    expect(ruleOf(() => validateMonitorSelector(wide))).toBe('path_segments');
    expect(ruleOf(() => validateMonitorSelector(create(MonitorScopeSelectorSchema)))).toBe(
      'accepted',
    );
  });
});

describe('registrations', () => {
  it('need a name, queries do not', () => {
    expect(ruleOf(() => validateEndpoint(create(NetworkServiceEndpointSchema)))).toBe('name');
    expect(ruleOf(() => validateEndpointQuery(create(NetworkServiceEndpointSchema)))).toBe(
      'accepted',
    );
    expect(ruleOf(() => validateService(create(NetworkServiceSchema)))).toBe('name');
    expect(ruleOf(() => validateService(create(NetworkServiceSchema, { name: 's' })))).toBe(
      'accepted',
    );
  });

  it.each([
    [{ url: long(limits.urlLength + 1) }, 'url'],
    [
      { networkServiceNames: Array.from({ length: limits.servicesPerEndpoint + 1 }, () => 's') },
      'network_service_names',
    ],
    [
      { networkServiceLabels: { s: { labels: many(limits.mapEntries + 1) } } },
      'network_service_labels.s.labels',
    ],
    [{ pathIds: [long(limits.pathIdLength + 1)] }, 'path_ids[0]'],
    [{ expirationTime: { nanos: 1_000_000_000 } }, 'expiration_time'],
  ])('of endpoints are refused for %#', (init, rule) => {
    const endpoint = create(NetworkServiceEndpointSchema, { name: 'nse', ...init });
    expect(ruleOf(() => validateEndpoint(endpoint))).toBe(rule);
  });

  it.each([
    [{ matches: Array.from({ length: limits.matches + 1 }, () => ({})) }, 'matches'],
    [
      { matches: [{ routes: Array.from({ length: limits.routes + 1 }, () => ({})) }] },
      'matches[0].routes',
    ],
    [{ matches: [{ sourceSelector: many(limits.mapEntries + 1) }] }, 'matches[0].source_selector'],
    [
      { matches: [{ metadata: { labels: many(limits.mapEntries + 1) } }] },
      'matches[0].metadata.labels',
    ],
  ])('of services are refused for %#', (init, rule) => {
    const service = create(NetworkServiceSchema, { name: 's', ...init });
    expect(ruleOf(() => validateService(service))).toBe(rule);
  });
});
