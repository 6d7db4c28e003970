// Protects operators and existing manifests: the reference's names, defaults and parsing rules, every mistake in one
// report, and a warning with the nearest name for a variable that nobody reads.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  configWarnings,
  loadCommonConfig,
  loadForwarderConfig,
  loadNscConfig,
  loadNseConfig,
  loadNsmgrConfig,
  loadRegistryConfig,
  roleVariables,
} from '../../bin/config/load.ts';
import { ConfigError } from '../../bin/config/variables.ts';

const socket = 'unix:///var/lib/networkservicemesh/nsm.io.sock';

it('ports of WireGuard tunnels are a first and a last one', () => {
  const portsOf = (text: string) => loadForwarderConfig({ VWIRE_WIREGUARD_PORTS: text });
  expect(loadForwarderConfig({}).wireguardPorts).toEqual({ first: 61_000, last: 65_535 });
  expect(portsOf('51820-51820').wireguardPorts).toEqual({ first: 51_820, last: 51_820 });
  for (const text of ['', '51820', '2-1', '0-5', '1-65536', 'a-b']) {
    expect(() => portsOf(text), text).toThrow('UDP ports, first and last');
  }
});

it('types of mechanisms that go first are read in any case, and a type that there is none of is refused', () => {
  const read = (value: string) => loadForwarderConfig({ NSM_MECHANISM_PRIORITY: value });
  expect(read('vxlan,WIREGUARD').mechanismPriority).toEqual(['VXLAN', 'WIREGUARD']);
  expect(() => read('VXLAN,WIREGARD')).toThrow(ConfigError);
});

describe('defaults', () => {
  it('are those of the reference', () => {
    expect(loadNsmgrConfig({})).toMatchObject({
      name: 'nmgr',
      listenOn: [socket],
      registryUrl: 'tcp://localhost:5001',
      maxTokenLifetimeMs: 600_000,
      dialTimeoutMs: 750,
      forwarderNetworkServiceName: 'forwarder',
      logLevel: 'info',
    });
    expect(loadForwarderConfig({})).toMatchObject({
      name: 'forwarder',
      connectTo: 'unix:///connect.to.socket',
      listenOn: 'unix:///listen.on.socket',
      labels: new Map([['p2p', 'true']]),
      networkServiceName: 'forwarder',
      tunnelIp: undefined,
      vxlanPort: 0,
      mechanismPriority: [],
    });
    expect(loadNseConfig({})).toMatchObject({
      name: 'icmp-server',
      connectTo: socket,
      baseDir: './',
      serviceNames: ['icmp-responder'],
      cidrPrefixes: [['169.254.0.0/16']],
      idleTimeoutMs: 0,
      registerService: true,
      labels: new Map(),
    });
    expect(loadNscConfig({})).toMatchObject({
      name: 'nsc',
      connectTo: socket,
      requestTimeoutMs: 15_000,
      networkServices: [],
      livenessCheckIntervalMs: 200,
    });
    expect(loadRegistryConfig({})).toMatchObject({ listenOn: ['unix:///listen.on.socket'] });
    expect(loadCommonConfig({})).toMatchObject({ bus: 'nats', insecure: false });
  });
});

describe('values', () => {
  it('set but empty are values: empty texts, lists, maps and URLs', () => {
    const config = loadNsmgrConfig({ NSM_REGISTRY_URL: '', NSM_LISTEN_ON: '', NSM_NAME: '' });
    expect(config).toMatchObject({ registryUrl: '', listenOn: [], name: '' });
    expect(loadForwarderConfig({ NSM_LABELS: '' }).labels).toEqual(new Map());
  });

  it.each([
    ['1h30m', 5_400_000],
    ['1.5s', 1500],
    ['250us', 0.25],
    ['0', 0],
  ])('read a Go duration: %s', (text, expected) => {
    expect(loadNsmgrConfig({ NSM_DIAL_TIMEOUT: text }).dialTimeoutMs).toBe(expected);
  });

  it.each(['1', 't', 'T', 'TRUE', 'true', 'True'])('read a Go boolean: %s', (text) => {
    expect(loadNseConfig({ NSM_UNREGISTER_ITSELF: text }).unregisterItself).toBe(true);
  });

  it('read a tunnel address as forwarder-ovs takes it, with a prefix length that says nothing', () => {
    const tunnelIp = (text: string) => loadForwarderConfig({ NSM_TUNNEL_IP: text }).tunnelIp;
    expect(tunnelIp('10.0.0.7/24')).toBe('10.0.0.7');
    expect(tunnelIp('fd00::7')).toBe('fd00::7');
  });

  it('read groups of prefixes and DNS configurations', () => {
    const config = loadNseConfig({
      NSM_CIDR_PREFIX: '[10.0.0.0/24,fd00::/64],10.1.0.0/16',
      NSM_DNS_CONFIGS: '[{"dns_server_ips":["10.0.0.1"],"search_domains":["a.example"]}]',
    });
    expect(config.cidrPrefixes).toEqual([['10.0.0.0/24', 'fd00::/64'], ['10.1.0.0/16']]);
    expect(config.dnsConfigs).toEqual([
      { dnsServerIps: ['10.0.0.1'], searchDomains: ['a.example'] },
    ]);
  });
});

describe('mistakes', () => {
  it('are reported all together: variable, expectation, finding', () => {
    const load = () =>
      loadForwarderConfig({
        NSM_DIAL_TIMEOUT: 'soon',
        NSM_VXLAN_PORT: '70000',
        NSM_LABELS: 'a=b',
        NSM_TUNNEL_IP: '10.0.0.300',
        VWIRE_BUS: 'carrier-pigeon',
        VWIRE_INSECURE: '',
      });
    expect(load).toThrow(ConfigError);
    expect(load).toThrow(
      `the configuration of forwarder is wrong:
  NSM_LABELS: expected key:value pairs with commas between them, no ":" in values; found "a=b"
  NSM_DIAL_TIMEOUT: expected a duration such as 10m, 750ms or 1h30m; found "soon"
  NSM_TUNNEL_IP: expected an IPv4 or IPv6 address; found "10.0.0.300"
  NSM_VXLAN_PORT: expected a whole number from 0 to 65535; found "70000"
  VWIRE_BUS: expected one of nats, grpc, memory; found "carrier-pigeon"
  VWIRE_INSECURE: expected true or false (or 1, t, T, TRUE, True, 0, f, F, FALSE, False); found ""`,
    );
  });

  it('are ConfigErrors for any values', () => {
    const loaders = {
      nsmgr: loadNsmgrConfig,
      registry: loadRegistryConfig,
      forwarder: loadForwarderConfig,
      nse: loadNseConfig,
      nsc: loadNscConfig,
    };
    const samples = [
      '10m',
      '1h',
      'true',
      '',
      'a,b',
      'a:b,c:d',
      '[a,b],c',
      '10.0.0.0/8',
      '4789',
      '[]',
      '[{}]',
    ];
    const mutated = fc
      .tuple(fc.constantFrom(...samples), fc.nat(20), fc.string({ maxLength: 3 }))
      .map(([text, at, extra]) => text.slice(0, at) + extra + text.slice(at));
    const value = fc.oneof(mutated, fc.constantFrom(...samples), fc.string());
    fc.assert(
      fc.property(
        fc.constantFrom(...(Object.keys(loaders) as (keyof typeof loaders)[])),
        fc.infiniteStream(value),
        (role, values) => {
          const names = Object.values(roleVariables[role] ?? {}).map(({ name }) => name);
          const environment = Object.fromEntries(names.map((name) => [name, values.next().value]));
          try {
            loaders[role](environment);
          } catch (error) {
            expect(error).toBeInstanceOf(ConfigError);
          }
        },
      ),
      { numRuns: 1500 },
    );
  });
});

describe('unknown names', () => {
  it('are warned of with the nearest known name; those of others are left alone', () => {
    expect(
      configWarnings('nsmgr', {
        NSM_DAIL_TIMEOUT: '1s',
        NSM_NAME: 'x',
        HOME: 'y',
        NSM_ZZZZZZZ: '',
      }),
    ).toEqual([
      'NSM_DAIL_TIMEOUT is not known to nsmgr and has no effect; did you mean NSM_DIAL_TIMEOUT?',
      'NSM_ZZZZZZZ is not known to nsmgr and has no effect',
    ]);
  });

  it.each(['NSM_VPP_API_SOCKET', 'NSM_BRIDGE_NAME'])(
    'of forwarder-vpp and forwarder-ovs are accepted by the forwarder, so that a manifest works unchanged: %s',
    (name) => {
      expect(configWarnings('forwarder', { [name]: 'x' })).toEqual([]);
    },
  );
});
