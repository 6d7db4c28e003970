// Protects the check of a wire before anything is touched: what a driver says it makes passes, bad addresses, ports and
// sockets of such ends are each one refusal, and so are frames through what has no Ethernet headers.

import { describe, expect, it } from 'vitest';
import { checkWire, type DriverReach } from '../../../protocols/netlink/check-wire.ts';
import type {
  IpsecEnd,
  MemifEnd,
  Wire,
  WireEnd,
  WireguardEnd,
} from '../../../protocols/ports/dataplane.ts';
import { localWire, tunnel } from '../../sandbox/wires.ts';

const everything: DriverReach = {
  vlans: true,
  taggedFrames: true,
  memif: true,
  wireguard: true,
  ipsec: true,
};
const addresses = { localIp: '10.0.0.1', localPort: 1, remoteIp: '10.0.0.2', remotePort: 2 };
const wireguard: WireguardEnd = {
  kind: 'wireguard',
  ...addresses,
  keyName: 'name',
  publicKey: 'a',
  peerPublicKey: 'b',
};
const ipsec: IpsecEnd = {
  kind: 'ipsec',
  ...addresses,
  certificate: 'a',
  peerCertificate: 'b',
  identity: 'a',
  peerIdentity: 'b',
  nearAddress: '172.16.1.1',
  farAddress: '172.16.1.0',
  initiates: true,
};
const memif: MemifEnd = {
  kind: 'memif',
  socket: { kind: 'abstract', name: '@a', netns: 'inode://4/3' },
  role: 'master',
  mode: 'ip',
};
const wireTo = (endpoint: WireEnd): Wire => ({
  ...localWire({ client: 'inode://4/1', endpoint: 'inode://4/2' }, 1),
  payload: 'IP',
  endpoint,
});

describe.each([
  ['memif', memif],
  ['wireguard', wireguard],
  ['ipsec', ipsec],
] as const)('an end of kind %s', (kind, end) => {
  it('passes where the driver makes it, and is refused with all it makes where it does not', () => {
    checkWire(wireTo(end), { [kind]: true });
    checkWire(wireTo(end), everything);
    const missing = [`${kind.toUpperCase()}: no such thing`];
    expect(() => checkWire(wireTo(end), { vlans: true, missing })).toThrow(
      expect.objectContaining({
        code: 'UNIMPLEMENTED',
        details: expect.objectContaining({
          expected: 'one of kernel, vxlan, vlan',
          found: `${kind}: no such thing`,
        }),
      }),
    );
  });
});

it.each([
  ['UDP port', { ...wireguard, localPort: 0 }],
  ['UDP port', { ...ipsec, remotePort: 65_536 }],
  ['tunnel addresses', { ...wireguard, remoteIp: '2001:db8::1' }],
  ['remote address', { ...ipsec, remoteIp: '224.0.0.1' }],
  ['memif socket', { ...memif, socket: { ...memif.socket, name: 'a' } as MemifEnd['socket'] }],
])('a bad %s is refused', (rule, end) => {
  expect(() => checkWire(wireTo(end), everything)).toThrow(
    expect.objectContaining({
      code: 'INVALID_ARGUMENT',
      details: expect.objectContaining({ rule }),
    }),
  );
});

describe.each([
  ['WireGuard', wireguard],
  ['IPsec', ipsec],
  ['a memif for payload IP', memif],
] as const)('%s', (name, end) => {
  const refusal = (details: Record<string, unknown>) =>
    expect.objectContaining({
      code: 'UNIMPLEMENTED',
      message: `${name} carries IP packets and no Ethernet frames`,
      details: expect.objectContaining(details),
    });

  it('carries no Ethernet frames', () => {
    expect(() => checkWire({ ...wireTo(end), payload: 'ETHERNET' }, everything)).toThrow(
      refusal({ rule: 'payload', expected: 'payload IP', found: 'payload ETHERNET' }),
    );
  });

  it('meets no end that has frames, and is told what it meets here', () => {
    const client = tunnel({ ...addresses, vni: 7 });
    expect(() => checkWire({ ...wireTo(end), client }, everything)).toThrow(
      refusal({
        rule: 'mechanism',
        expected: 'one of kernel, memif, wireguard, ipsec at the other end',
        found: 'vxlan',
      }),
    );
    expect(() => checkWire({ ...wireTo(end), client }, { [end.kind]: true })).toThrow(
      refusal({ expected: `one of kernel, ${end.kind} at the other end` }),
    );
  });

  it('meets its like', () => {
    for (const client of [wireguard, ipsec, memif]) {
      checkWire({ ...wireTo(end), client }, everything);
    }
  });
});
