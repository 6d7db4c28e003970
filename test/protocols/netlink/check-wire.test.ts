// Protects the check of a wire before anything is touched: what a driver says it makes passes, and bad addresses, ports
// and sockets of such ends are each one refusal.

import { describe, expect, it } from 'vitest';
import { checkWire, type DriverReach } from '../../../protocols/netlink/check-wire.ts';
import type {
  IpsecEnd,
  MemifEnd,
  Wire,
  WireEnd,
  WireguardEnd,
} from '../../../protocols/ports/dataplane.ts';
import { localWire } from '../../sandbox/wires.ts';

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
