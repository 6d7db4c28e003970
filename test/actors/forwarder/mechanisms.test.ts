// Protects what a forwarder agrees on with each side: offers in the order of its data plane and no other, what it
// completes as a server, keys and sockets that a refresh keeps, and refusals that say what there is.

import { describe, expect, it } from 'vitest';
import {
  agreeWithClient,
  type MechanismSetup,
  onwardOffer,
} from '../../../actors/forwarder/mechanisms.ts';
import { ownKeyName } from '../../../actors/forwarder/tunnel-ends.ts';
import { createVniTable } from '../../../actors/forwarder/vni-table.ts';
import { createTunnelPorts } from '../../../actors/forwarder/tunnel-ports.ts';
import type { HopRequest } from '../../../actors/connection/hop.ts';
import type { Connection, Mechanism } from '../../../protocols/nsm/gen/connection_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import { memifMechanism } from '../../../protocols/nsm/memif-mechanism.ts';
import { makeMechanism, withParameters } from '../../../protocols/nsm/mechanism.ts';
import { vxlanMechanism } from '../../../protocols/nsm/vxlan-mechanism.ts';
import { wireguardMechanism } from '../../../protocols/nsm/wireguard-mechanism.ts';
import { createMemoryJournal } from '../../../transports/journal/memory-journal.ts';
import { openTunnelKeys } from '../../../transports/tunnel-keys/tunnel-keys.ts';
import { connectionAt, hopRequest } from '../connection/hop-request.ts';
import { seededRandom } from '../runtime/fixture.ts';

const keys = await openTunnelKeys({ journal: createMemoryJournal(), ipsec: true });
const peerKeys = await openTunnelKeys({ journal: createMemoryJournal(), ipsec: true });
const everything = ['KERNEL', 'MEMIF', 'VXLAN', 'WIREGUARD', 'IPSEC', 'VLAN'];

const local = 'memory:node-1/nse';
const remote = 'memory:node-2/nsmgr';

function setupOf(change: Partial<MechanismSetup> = {}): MechanismSetup {
  return {
    name: 'forwarder',
    node: { domain: 'mesh', node: 'node-1' },
    random: seededRandom(1),
    vnis: createVniTable(),
    tunnelPorts: createTunnelPorts({ first: 61_000, last: 61_003 }),
    dataplane: { kind: 'simulated' },
    capabilities: { mechanisms: everything, missing: [] },
    tunnelKeys: keys,
    tunnelIp: '10.9.0.1',
    vxlanPort: 4789,
    underlayMtu: 1500,
    ...change,
  };
}

const path = ['nsc', 'nsmgr', 'forwarder'];
const requestOf = (change: Partial<Connection> = {}, more: Partial<HopRequest> = {}) =>
  hopRequest(connectionAt(2, path, change), more);

function offered(
  url: string,
  change: Partial<MechanismSetup> = {},
  connection: Partial<Connection> = {},
) {
  const next = { endpoint: { url, name: 'nse' }, listenPort: 4790 };
  return onwardOffer(setupOf(change), { ...next, request: requestOf(connection) }).preferences;
}

const typesOf = (preferences: readonly Mechanism[]) => preferences.map(({ type }) => type);
const only = (...mechanisms: string[]) => ({ capabilities: { mechanisms, missing: [] } });

describe('what a forwarder offers', () => {
  it.each([
    ['kernel', local, 'IP', ['KERNEL']],
    ['kernel', remote, 'IP', ['WIREGUARD', 'VXLAN']],
    ['kernel', remote, 'ETHERNET', ['VXLAN']],
    ['ovs', remote, 'IP', ['VXLAN', 'VLAN']],
    ['vpp', local, 'IP', ['MEMIF', 'KERNEL']],
    ['vpp', remote, 'IP', ['WIREGUARD', 'IPSEC', 'VXLAN', 'VLAN']],
    ['vpp', remote, 'ETHERNET', ['VXLAN', 'VLAN']],
    ['simulated', remote, 'IP', ['WIREGUARD', 'IPSEC', 'VXLAN', 'VLAN']],
  ] as const)('over %s towards %s for %s is %j', (kind, url, payload, types) => {
    const preferences = offered(url, { dataplane: { kind } }, { payload });
    expect(typesOf(preferences)).toEqual(types);
    const cls = url === local ? 'LOCAL' : 'REMOTE';
    expect(new Set(preferences.map((each) => each.cls))).toEqual(new Set([cls]));
  });

  it('is nothing that its data plane cannot make here, and nothing that it has no key for', () => {
    expect(typesOf(offered(remote, only('KERNEL', 'VXLAN')))).toEqual(['VXLAN']);
    expect(typesOf(offered(remote, { tunnelKeys: undefined }))).toEqual(['VXLAN', 'VLAN']);
    const withoutRsa = { wireguardPublicKey: (name: string) => keys.wireguardPublicKey(name) };
    expect(typesOf(offered(remote, { tunnelKeys: withoutRsa }))).toEqual([
      'WIREGUARD',
      'VXLAN',
      'VLAN',
    ]);
  });

  it('begins with what the operator puts first', () => {
    const change = { mechanismPriority: ['VLAN', 'VXLAN', 'KERNEL'] };
    expect(typesOf(offered(remote, change))).toEqual(['VLAN', 'VXLAN', 'WIREGUARD', 'IPSEC']);
    expect(typesOf(offered(local, change))).toEqual(['KERNEL', 'MEMIF']);
  });

  it('says where its end of a tunnel is, by what it proves itself, and what fits through', () => {
    const [wireguard, ipsec, vxlan] = offered(remote).map(({ parameters }) => parameters);
    expect(wireguard).toEqual({
      src_ip: '10.9.0.1',
      src_port: expect.stringMatching(/^6100[0-3]$/) as string,
      src_public_key: keys.wireguardPublicKey(ownKeyName('id-2', 'endpoint', 'nse')),
      MTU: '1440',
    });
    expect(ipsec).toEqual({
      src_ip: '10.9.0.1',
      src_port: '4500',
      src_public_key: keys.ipsecCertificate?.(ownKeyName('id-2', 'endpoint', 'nse')),
      MTU: '1419',
    });
    expect(vxlan).toEqual({ src_ip: '10.9.0.1', src_port: '4790', MTU: '1446' });
    const overIpv6 = offered(remote, { tunnelIp: '2001:db8::1' }).map(
      ({ parameters }) => parameters['MTU'],
    );
    expect(overIpv6).toEqual(['1420', '1426', undefined]);
  });

  it('is no IPsec where its tunnels begin at an IPv6 address: VPP makes it over IPv4 alone', () => {
    const overIpv6 = offered(remote, { tunnelIp: '2001:db8::1' });
    expect(typesOf(overIpv6)).toEqual(['WIREGUARD', 'VXLAN', 'VLAN']);
  });

  it.each([
    ['KERNEL', local, ['MEMIF', 'KERNEL']],
    ['KERNEL', remote, ['WIREGUARD', 'IPSEC', 'VXLAN', 'VLAN']],
    ['MEMIF', local, ['MEMIF', 'KERNEL']],
    ['MEMIF', remote, ['WIREGUARD', 'IPSEC']],
    ['WIREGUARD', local, ['MEMIF', 'KERNEL']],
    ['WIREGUARD', remote, ['WIREGUARD', 'IPSEC']],
    ['VXLAN', local, ['KERNEL']],
    ['VXLAN', remote, ['VXLAN', 'VLAN']],
  ])('meets a client with %s for payload IP towards %s: %j', (type, url, types) => {
    const mechanism = makeMechanism('LOCAL', type);
    expect(typesOf(offered(url, {}, { mechanism }))).toEqual(types);
  });

  it('meets every client for Ethernet frames', () => {
    const client = (type: string) => ({
      mechanism: makeMechanism('LOCAL', type),
      payload: 'ETHERNET',
    });
    expect(typesOf(offered(remote, {}, client('MEMIF')))).toEqual(['VXLAN', 'VLAN']);
    expect(typesOf(offered(local, {}, client('VXLAN')))).toEqual(['MEMIF', 'KERNEL']);
  });

  it('over Open vSwitch says that frames can be tagged', () => {
    expect(offered(local, { dataplane: { kind: 'ovs' } })[0]?.parameters).toEqual({
      supportsVlan: 'true',
    });
    expect(offered(local, { dataplane: { kind: 'kernel' } })[0]?.parameters).toEqual({});
  });

  it('leads nowhere where nothing is left, and says what there is', () => {
    expect(() => offered(remote, only('KERNEL'))).toThrow(
      expect.objectContaining({
        code: 'UNIMPLEMENTED',
        details: expect.objectContaining({
          hop: 'forwarder',
          expected: 'one of WIREGUARD, IPSEC, VXLAN, VLAN',
          found: 'KERNEL, by the data plane simulated',
        }),
      }),
    );
    const beside = { mechanism: makeMechanism('LOCAL', 'MEMIF') };
    expect(() => offered(remote, only('KERNEL', 'MEMIF', 'VXLAN'), beside)).toThrow(
      expect.objectContaining({
        code: 'UNIMPLEMENTED',
        details: expect.objectContaining({
          rule: 'REMOTE mechanisms for payload IP, to a client with MEMIF',
          expected: 'one of WIREGUARD, IPSEC',
          found: 'KERNEL, MEMIF, VXLAN, by the data plane simulated',
        }),
      }),
    );
  });
});

/** What a peer's forwarder offers. */
const wireguardOffer = (change: Record<string, string | undefined> = {}) =>
  withParameters(
    wireguardMechanism({
      srcIp: '10.9.0.2',
      srcPort: 51_820,
      srcPublicKey: peerKeys.wireguardPublicKey('peer'),
      mtu: 1430,
    }),
    change,
  );
const agree = (
  preferences: readonly Mechanism[],
  change: Partial<MechanismSetup> = {},
  connection: Partial<Connection> = {},
) => agreeWithClient(setupOf(change), requestOf(connection, { preferences }));

describe('what a forwarder agrees on with whoever asks', () => {
  it('is the first that it makes, in their order', () => {
    const preferences = [wireguardOffer(), vxlanMechanism({ srcIp: '10.9.0.2' })];
    expect(agree(preferences).type).toBe('WIREGUARD');
    expect(agree(preferences.toReversed()).type).toBe('VXLAN');
    expect(agree(preferences, only('VXLAN')).type).toBe('VXLAN');
    expect(agree(preferences, {}, { payload: 'ETHERNET' }).type).toBe('VXLAN');
    expect(agree(preferences, { tunnelKeys: undefined }).type).toBe('VXLAN');
  });

  it('of a WireGuard tunnel has its own address, port and key, and the smaller MTU', () => {
    expect(agree([wireguardOffer()]).parameters).toEqual({
      ...wireguardOffer().parameters,
      dst_ip: '10.9.0.1',
      dst_port: expect.stringMatching(/^6100[0-3]$/) as string,
      dst_public_key: keys.wireguardPublicKey(ownKeyName('id-2', 'client')),
      MTU: '1430',
    });
    expect(agree([wireguardOffer({ MTU: '9000' })]).parameters['MTU']).toBe('1440');
    expect(agree([wireguardOffer({ MTU: undefined })]).parameters['MTU']).toBe('1440');
  });

  it('of an IPsec tunnel has a certificate for this end of it alone', () => {
    const parameters = {
      src_ip: '10.9.0.2',
      src_public_key: peerKeys.ipsecCertificate?.('theirs'),
    };
    const asked = { ...wireguardOffer(parameters), type: 'IPSEC' };
    expect(agree([asked]).parameters).toMatchObject({
      dst_ip: '10.9.0.1',
      dst_port: '4500',
      dst_public_key: keys.ipsecCertificate?.(ownKeyName('id-2', 'client')),
      MTU: '1419',
    });
  });

  it('of memif has the socket to connect to, in the namespace of the client', () => {
    expect(agree([memifMechanism({ inodeUrl: 'inode://4/1' })]).parameters).toEqual({
      inodeURL: 'inode://4/1',
      socketfile: '@/tmp/memif/id-2/memif.socket',
    });
    expect(() => agree([memifMechanism({})])).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  it.each([
    ['src_ip', { src_ip: '' }],
    ['src_public_key', { src_public_key: undefined }],
    ['src_public_key', { src_public_key: 'AAAA' }],
    ['dst_ip', { src_ip: '2001:db8::2' }],
  ])('is refused for a bad %s before anybody else is asked: %j', (key, change) => {
    expect(() => agree([wireguardOffer(change)])).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({ rule: `mechanism.parameters.${key}` }),
      }),
    );
  });

  it('is refused where it makes nothing of what is asked for, with what it makes and why not that', () => {
    const capabilities = {
      mechanisms: ['KERNEL', 'VXLAN', 'VLAN'],
      missing: ['veth: none', 'WIREGUARD: the kernel has no link type wireguard'],
    };
    const vlan = { ...kernelMechanism({}), type: 'VLAN' };
    expect(() => agree([wireguardOffer(), vlan, memifMechanism({})], { capabilities })).toThrow(
      expect.objectContaining({
        code: 'UNIMPLEMENTED',
        details: expect.objectContaining({
          expected: 'one of KERNEL, VXLAN',
          found:
            'WIREGUARD (the kernel has no link type wireguard), VLAN (it leads out of the mesh alone), MEMIF',
        }),
      }),
    );
    expect(() => agree([wireguardOffer()], {}, { payload: 'ETHERNET' })).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({ found: 'WIREGUARD (not for payload ETHERNET)' }),
      }),
    );
    expect(() => agree([wireguardOffer()], { tunnelKeys: undefined })).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({ found: 'WIREGUARD (this forwarder has no key for it)' }),
      }),
    );
    const ipsec = { ...wireguardOffer(), type: 'IPSEC' };
    expect(() => agree([ipsec], { tunnelIp: '2001:db8::1' })).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({
          found: 'IPSEC (not over IPv6, and NSM_TUNNEL_IP is 2001:db8::1)',
        }),
      }),
    );
  });
});

describe('a refresh', () => {
  it('towards the client changes neither key nor socket', () => {
    for (const asked of [wireguardOffer(), memifMechanism({ inodeUrl: 'inode://4/1' })]) {
      const setup = setupOf();
      const first = agreeWithClient(setup, requestOf({}, { preferences: [asked] }));
      const again = agreeWithClient(setup, requestOf({ mechanism: first }, {}));
      expect(again).toEqual(first);
    }
  });

  const agreed = (srcPublicKey: string) =>
    wireguardMechanism({
      srcIp: '10.9.0.1',
      srcPort: 51_820,
      srcPublicKey,
      dstIp: '10.9.0.2',
      dstPort: 51_820,
      dstPublicKey: peerKeys.wireguardPublicKey('peer'),
      mtu: 1430,
    });

  function refreshed(onwardMechanism: Mechanism, change: Partial<HopRequest> = {}) {
    const connection = connectionAt(2, path);
    const memory = { nextUrl: remote, nextName: 'nse', onwardMechanism };
    const request = hopRequest(connection, { previous: { connection, memory }, ...change });
    const endpoint = { url: remote, name: 'nse' };
    return onwardOffer(setupOf(), { request, endpoint, listenPort: 4789 });
  }

  it('onwards sends what was agreed on, beside the same preferences', () => {
    const own = keys.wireguardPublicKey(ownKeyName('id-2', 'endpoint', 'nse'));
    const { mechanism, preferences } = refreshed(agreed(own));
    expect(mechanism).toEqual(agreed(own));
    expect(preferences[0]?.parameters['src_public_key']).toBe(own);
  });

  it('onwards sends the key that is there where the agreed one is lost', () => {
    const own = keys.wireguardPublicKey(ownKeyName('id-2', 'endpoint', 'nse'));
    const lost = peerKeys.wireguardPublicKey('lost');
    expect(refreshed(agreed(lost)).mechanism).toEqual(agreed(own));
  });

  it('that reselects agrees anew, with another key for another Endpoint', () => {
    const own = keys.wireguardPublicKey(ownKeyName('id-2', 'endpoint', 'nse'));
    expect(refreshed(agreed(own), { reselect: true }).mechanism).toBeUndefined();
    const connection = connectionAt(2, path);
    const endpoint = { url: remote, name: 'nse-2' };
    const request = hopRequest(connection, { reselect: true });
    const { preferences } = onwardOffer(setupOf(), { request, endpoint, listenPort: 4789 });
    expect(preferences[0]?.parameters['src_public_key']).not.toBe(own);
  });
});
