// Protects the step from what was agreed to what the data plane makes: whose addresses and routes go to which end, the
// rule of next hops on a link, MTU, which side of a tunnel is ours, and with which key.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { ownKeyName } from '../../../actors/forwarder/tunnel-ends.ts';
import { wireOf } from '../../../actors/forwarder/wire-of.ts';
import type { Mechanism } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  ConnectionContextSchema,
  type IPContext,
} from '../../../protocols/nsm/gen/connectioncontext_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import {
  makeMechanism,
  mechanismClass,
  mechanismType,
  withParameters,
} from '../../../protocols/nsm/mechanism.ts';
import { memifMechanism } from '../../../protocols/nsm/memif-mechanism.ts';
import { wireguardMechanism } from '../../../protocols/nsm/wireguard-mechanism.ts';
import type { KernelEnd, Wire } from '../../../protocols/ports/dataplane.ts';
import type { TunnelKeys } from '../../../protocols/ports/tunnel-keys.ts';
import { encodeBase64 } from '../../../protocols/spiffe/base64url.ts';
import { createMemoryJournal } from '../../../transports/journal/memory-journal.ts';
import { selfSignedCertificate } from '../../../transports/tunnel-keys/self-signed-certificate.ts';
import { openTunnelKeys } from '../../../transports/tunnel-keys/tunnel-keys.ts';
import { connectionAt } from '../connection/hop-request.ts';

const path = ['nsc', 'nsmgr', 'forwarder', 'nse'];
const clientKernel = kernelMechanism({ netnsUrl: 'inode://4/1', interfaceName: 'nsm-1' });
const endpointKernel = kernelMechanism({ netnsUrl: 'inode://4/2', interfaceName: 'nse-1' });

const ownKeys = await openTunnelKeys({ journal: createMemoryJournal(), ipsec: false });
const certificate = (): string => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
  return encodeBase64(selfSignedCertificate(privateKey, 'test', randomBytes(16)));
};
const certificates = [certificate(), certificate()] as const;

interface Case {
  readonly client?: Mechanism;
  readonly onward?: Mechanism;
  readonly ip?: Partial<Record<keyof IPContext, unknown>>;
  readonly mtu?: number;
  readonly payload?: string;
  readonly keys?: TunnelKeys;
}

function wire({
  client = clientKernel,
  onward = endpointKernel,
  ip = {},
  mtu = 0,
  payload = 'IP',
  keys = ownKeys,
}: Case): Wire {
  const context = create(ConnectionContextSchema, {
    MTU: mtu,
    ipContext: {
      srcIpAddrs: ['10.0.0.1/32', 'fc00::1/128'],
      dstIpAddrs: ['10.0.0.0/32', 'fc00::/128'],
      ...(ip as object),
    },
  });
  const answer = connectionAt(2, path, { context, payload });
  return wireOf({ answer, client, onward, nextName: 'nse', keys, hop: 'forwarder' });
}

const ends = (made: Wire) => [made.client, made.endpoint] as [KernelEnd, KernelEnd];

function vxlan(parameters: Record<string, string | undefined>): Mechanism {
  return makeMechanism(mechanismClass.remote, mechanismType.vxlan, {
    src_ip: '10.9.0.1',
    src_port: '4789',
    dst_ip: '10.9.0.2',
    dst_port: '4790',
    vni: '77',
    ...parameters,
  });
}

describe('a wire between two workloads', () => {
  it('is known by the forwarder’s own segment id and gives each end its own addresses', () => {
    const made = wire({});
    const [client, endpoint] = ends(made);
    expect(made).toMatchObject({ id: 'id-2', payload: 'IP', mtu: 0 });
    expect(client).toMatchObject({ netns: 'inode://4/1', interfaceName: 'nsm-1' });
    expect(endpoint).toMatchObject({ netns: 'inode://4/2', interfaceName: 'nse-1' });
    expect(client.addresses).toEqual(['10.0.0.1/32', 'fc00::1/128']);
    expect(endpoint.addresses).toEqual(['10.0.0.0/32', 'fc00::/128']);
  });

  it('gives the policies to the client alone, each with its routes or the default one', () => {
    const policies = [
      {
        from: '172.16.2.200/24',
        proto: '6',
        dstPort: '80-90',
        srcPort: '7',
        routes: [{ prefix: '172.16.3.0/24', nextHop: '172.16.2.201' }, { prefix: '10.9.0.0/16' }],
      },
      { from: '', srcPort: '0', routes: [] },
      { from: 'fd00::7/64', routes: [] },
    ];
    const [client, endpoint] = ends(wire({ ip: { policies } }));
    expect(endpoint.policies).toBeUndefined();
    expect(client.policies).toEqual([
      {
        from: '172.16.2.200/24',
        ipProtocol: 6,
        destinationPorts: { first: 80, last: 90 },
        sourcePorts: { first: 7, last: 7 },
        routes: [
          { prefix: '172.16.3.0/24', gateway: '172.16.2.201' },
          { prefix: '10.9.0.0/16', gateway: '10.0.0.0' },
        ],
      },
      { routes: [{ prefix: '0.0.0.0/0', gateway: '10.0.0.0' }] },
      { from: 'fd00::7/64', routes: [{ prefix: '::/0', gateway: 'fc00::' }] },
    ]);
  });

  it('carries ETHERNET only where the answer says so', () => {
    expect(wire({ payload: 'ETHERNET' }).payload).toBe('ETHERNET');
    expect(wire({ payload: '' }).payload).toBe('IP');
  });

  it('keeps the client’s MAC over any change behind its manager, and the Endpoint’s per address', () => {
    const [client, endpoint] = ends(wire({}));
    const answer = connectionAt(2, ['nsc', 'nsmgr', 'other-forwarder', 'other-nse'], {
      id: 'other',
      context: create(ConnectionContextSchema, { ipContext: { dstIpAddrs: ['10.0.0.0/32'] } }),
    });
    const moved = wireOf({ answer, client: clientKernel, onward: endpointKernel, hop: 'f' });
    expect(ends(moved)[0].macAddress).toBe(client.macAddress);
    expect(ends(moved)[1].macAddress).toBe(endpoint.macAddress);
    expect(client.macAddress).not.toBe(endpoint.macAddress);
  });

  it('gives the client, and only the client, the neighbours', () => {
    const ipNeighbors = [{ ip: '10.0.0.0', hardwareAddress: '02:00:00:00:00:01' }];
    const [client, endpoint] = ends(wire({ ip: { ipNeighbors } }));
    expect(client.neighbors).toEqual([{ ip: '10.0.0.0', macAddress: '02:00:00:00:00:01' }]);
    expect(endpoint.neighbors).toEqual([]);
  });
});

describe('VLANs', () => {
  const way = (parameters: Record<string, string>) =>
    makeMechanism(mechanismClass.remote, mechanismType.vlan, parameters);

  it('lead where the label via says, with the id that the Endpoint says', () => {
    const answer = connectionAt(2, path, { labels: { via: 'gw0' } });
    const onward = way({ 'vlan-id': '100' });
    const made = wireOf({ answer, client: clientKernel, onward, hop: 'f' });
    expect(made.endpoint).toEqual({ kind: 'vlan', vlanId: 100, via: 'gw0' });
  });

  it.each([{}, { 'vlan-id': '0' }, { 'vlan-id': '4095' }, { 'vlan-id': 'x' }])(
    'are refused without an id from 1 to 4094: %j',
    (parameters) => {
      expect(() => wire({ onward: way(parameters) })).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      );
    },
  );

  it('of a workload that tags its frames are those of its end alone', () => {
    const onward = { ...endpointKernel, parameters: { ...endpointKernel.parameters, vlan: '7' } };
    const [client, endpoint] = ends(wire({ onward }));
    expect(endpoint.vlanId).toBe(7);
    expect(client).not.toHaveProperty('vlanId');
  });
});

describe('routes', () => {
  const routesOf = (srcRoutes: object[], dstIpAddrs = ['10.0.0.0/32', 'fc00::/128']) =>
    ends(wire({ ip: { srcRoutes, dstIpAddrs } }))[0].routes;

  it('go through the address that they name', () => {
    expect(routesOf([{ prefix: '192.168.0.0/24', nextHop: '10.0.0.9' }])).toEqual([
      { prefix: '192.168.0.0/24', gateway: '10.0.0.9' },
    ]);
  });

  it('go through the other end’s first address of their family where they name none', () => {
    expect(routesOf([{ prefix: '192.168.0.0/24' }, { prefix: 'fd00::/64' }])).toEqual([
      { prefix: '192.168.0.0/24', gateway: '10.0.0.0' },
      { prefix: 'fd00::/64', gateway: 'fc00::' },
    ]);
  });

  it('are on the link where they lie inside the other end’s prefix, or no such address exists', () => {
    expect(routesOf([{ prefix: '10.0.0.0/32' }])).toEqual([{ prefix: '10.0.0.0/32' }]);
    expect(routesOf([{ prefix: '10.5.1.0/24' }], ['10.5.0.1/16'])).toEqual([
      { prefix: '10.5.1.0/24' },
    ]);
    expect(routesOf([{ prefix: 'fd00::/64' }], ['10.0.0.0/32'])).toEqual([{ prefix: 'fd00::/64' }]);
  });

  it('of the Endpoint go through the client', () => {
    const [client, endpoint] = ends(wire({ ip: { dstRoutes: [{ prefix: '192.168.0.0/24' }] } }));
    expect(client.routes).toEqual([]);
    expect(endpoint.routes).toEqual([{ prefix: '192.168.0.0/24', gateway: '10.0.0.1' }]);
  });

  it('that cannot be read are refused', () => {
    expect(() => routesOf([{ prefix: 'nonsense' }])).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });
});

describe('the MTU', () => {
  it.each([
    { context: 0, tunnel: undefined, mtu: 0 },
    { context: 1400, tunnel: undefined, mtu: 1400 },
    { context: 0, tunnel: '1446', mtu: 1446 },
    { context: 1400, tunnel: '1446', mtu: 1400 },
    { context: 9000, tunnel: '1446', mtu: 1446 },
  ])('is the smallest that anybody says: $context and $tunnel', ({ context, tunnel, mtu }) => {
    expect(wire({ mtu: context, onward: vxlan({ MTU: tunnel }) }).mtu).toBe(mtu);
  });
});

describe('a tunnel', () => {
  it('begins at the source where it leads to the Endpoint', () => {
    expect(wire({ onward: vxlan({}) }).endpoint).toEqual({
      kind: 'vxlan',
      localIp: '10.9.0.1',
      localPort: 4789,
      remoteIp: '10.9.0.2',
      remotePort: 4790,
      vni: 77,
    });
  });

  it('ends at the destination where it comes from the client', () => {
    expect(wire({ client: vxlan({}) }).client).toEqual({
      kind: 'vxlan',
      localIp: '10.9.0.2',
      localPort: 4790,
      remoteIp: '10.9.0.1',
      remotePort: 4789,
      vni: 77,
    });
  });

  it.each(['src_ip', 'dst_ip', 'vni'])('without %s is refused, naming it', (key) => {
    expect(() => wire({ onward: vxlan({ [key]: undefined }) })).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({ hop: 'forwarder', expected: `parameter ${key}` }),
      }),
    );
  });
});

describe('memif', () => {
  const abstract = memifMechanism({ inodeUrl: 'inode://4/3', socketFile: '@a' });
  const socket = { kind: 'abstract', name: '@a', netns: 'inode://4/3' };

  it('is made towards the client and connected to at the Endpoint, in the mode of the payload', () => {
    const made = wire({ client: abstract, onward: abstract });
    expect(made.client).toEqual({ kind: 'memif', socket, role: 'master', mode: 'ip' });
    expect(made.endpoint).toEqual({ kind: 'memif', socket, role: 'slave', mode: 'ip' });
    const { endpoint } = wire({ onward: abstract, payload: 'ETHERNET' });
    expect(endpoint).toMatchObject({ mode: 'ethernet' });
  });
});

describe('a tunnel with keys', () => {
  const peer = encodeBase64(new Uint8Array(32).fill(9));
  const keyed = (own: 'src' | 'dst', change: Record<string, string | undefined> = {}) => {
    const name = ownKeyName('id-2', own === 'src' ? 'endpoint' : 'client', 'nse');
    const key = ownKeys.wireguardPublicKey(name);
    return withParameters(
      wireguardMechanism({
        srcIp: '10.9.0.1',
        srcPort: 51_820,
        dstIp: '10.9.0.2',
        dstPort: 51_821,
        srcPublicKey: own === 'src' ? key : peer,
        dstPublicKey: own === 'src' ? peer : key,
        mtu: 1440,
      }),
      change,
    );
  };

  it('has its own key by name and never the private one, and its peer’s, on either side', () => {
    const publicKeyOf = (name: string) => ownKeys.wireguardPublicKey(name);
    const onwardName = ownKeyName('id-2', 'endpoint', 'nse');
    const made = wire({ onward: keyed('src') });
    expect(made).toMatchObject({ mtu: 1440 });
    expect(made.endpoint).toEqual({
      kind: 'wireguard',
      localIp: '10.9.0.1',
      localPort: 51_820,
      remoteIp: '10.9.0.2',
      remotePort: 51_821,
      keyName: onwardName,
      publicKey: publicKeyOf(onwardName),
      peerPublicKey: peer,
    });
    const clientName = ownKeyName('id-2', 'client');
    expect(wire({ client: keyed('dst') }).client).toEqual({
      kind: 'wireguard',
      localIp: '10.9.0.2',
      localPort: 51_821,
      remoteIp: '10.9.0.1',
      remotePort: 51_820,
      keyName: clientName,
      publicKey: publicKeyOf(clientName),
      peerPublicKey: peer,
    });
  });

  it.each(['src_ip', 'dst_ip', 'src_public_key', 'dst_public_key'])(
    'without %s is refused, naming it',
    (key) => {
      expect(() => wire({ onward: keyed('src', { [key]: undefined }) })).toThrow(
        expect.objectContaining({
          code: 'INVALID_ARGUMENT',
          details: expect.objectContaining({
            rule: 'endpoint mechanism',
            expected: `parameter ${key}`,
          }),
        }),
      );
    },
  );

  it('is not made with another key than the one that was agreed on', () => {
    const other = encodeBase64(new Uint8Array(32).fill(8));
    expect(() => wire({ onward: keyed('src', { src_public_key: other }) })).toThrow(
      expect.objectContaining({
        code: 'FAILED_PRECONDITION',
        details: expect.objectContaining({
          rule: 'own key of the endpoint side',
          found: other,
          remedy: expect.stringContaining('refresh'),
        }),
      }),
    );
  });

  it('of IPsec has certificates and the identities that follow from them; who is nearer to the client begins', () => {
    const asked: string[] = [];
    const keys = {
      ...ownKeys,
      ipsecCertificate(name: string) {
        asked.push(name);
        return certificates[0];
      },
    };
    const parameters = { src_public_key: certificates[0], dst_public_key: certificates[1] };
    const onward = { ...keyed('src', parameters), type: 'IPSEC' };
    const [certificate, peerCertificate] = certificates;
    expect(wire({ onward, keys }).endpoint).toMatchObject({
      kind: 'ipsec',
      certificate,
      peerCertificate,
      identity: certificate.slice(0, 64),
      peerIdentity: peerCertificate.slice(0, 64),
      initiates: true,
    });
    const swapped = { src_public_key: peerCertificate, dst_public_key: certificate };
    const client = { ...keyed('src', swapped), type: 'IPSEC' };
    expect(wire({ client, keys }).client).toMatchObject({ certificate, initiates: false });
    expect(asked).toEqual([ownKeyName('id-2', 'endpoint', 'nse'), ownKeyName('id-2', 'client')]);
    expect(() => wire({ onward })).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({ expected: 'none: this forwarder has no keys' }),
      }),
    );
  });

  it('of IPsec calls its traffic by the last address of each end, as the reference does, or by none', () => {
    const keys = { ...ownKeys, ipsecCertificate: () => certificates[0] };
    const parameters = { src_public_key: certificates[0], dst_public_key: certificates[1] };
    const onward = { ...keyed('src', parameters), type: 'IPSEC' };
    const ip = { srcIpAddrs: ['10.0.0.1/32', 'fd00::1/128'], dstIpAddrs: ['10.0.0.2/32'] };
    const ends = [
      wire({ onward, keys, ip }),
      wire({ onward, keys, ip: { srcIpAddrs: [], dstIpAddrs: [] } }),
    ];
    expect(ends.map(({ endpoint }) => endpoint)).toMatchObject([
      { nearAddress: 'fd00::1', farAddress: '10.0.0.2' },
      { nearAddress: '', farAddress: '' },
    ]);
  });
});

it('an end of no known mechanism is refused, naming the side', () => {
  const onward = { ...endpointKernel, type: 'SRV6' };
  expect(() => wire({ onward })).toThrow(
    expect.objectContaining({
      code: 'UNIMPLEMENTED',
      message: expect.stringContaining('endpoint'),
      details: expect.objectContaining({ found: 'SRV6' }),
    }),
  );
});
