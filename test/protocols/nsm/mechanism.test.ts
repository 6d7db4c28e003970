// Protects mechanism choice, the readers of KERNEL and VXLAN, VNI parity with its empty-key cases, and MTU agreement.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  defaultInterfaceName,
  isDefaultInterfaceName,
  whyBadInterfaceName,
} from '../../../protocols/nsm/interface-name.ts';
import { kernelMechanism, readKernel } from '../../../protocols/nsm/kernel-mechanism.ts';
import {
  filterByNextHop,
  makeMechanism,
  mechanismsToTry,
  numberParameter,
  orderByPriority,
  pickMechanism,
  withParameters,
} from '../../../protocols/nsm/mechanism.ts';
import { agreeMtu, tunnelMtu } from '../../../protocols/nsm/mtu.ts';
import {
  drawVni,
  readVxlan,
  vniMax,
  vniParity,
  vxlanMechanism,
} from '../../../protocols/nsm/vxlan-mechanism.ts';
import { seeded } from '../../fuzz/mutate.ts';

const kernel = makeMechanism('LOCAL', 'KERNEL');
const memif = makeMechanism('LOCAL', 'MEMIF');
const vxlan = makeMechanism('REMOTE', 'VXLAN');

const invalidArgument = expect.objectContaining({ code: 'INVALID_ARGUMENT' });

describe('the choice', () => {
  it('follows the caller, skipping what is not supported; a refresh has only its own', () => {
    const preferences = [memif, vxlan, kernel];
    const supported = ['KERNEL', 'VXLAN'];
    expect(mechanismsToTry({ current: undefined, preferences, supported })).toEqual([
      vxlan,
      kernel,
    ]);
    expect(pickMechanism({ current: kernel, preferences, supported })).toBe(kernel);
    expect(() => pickMechanism({ current: memif, preferences, supported })).toThrow(/mechanism/);
    expect(() => pickMechanism({ current: undefined, preferences: [], supported })).toThrow(
      expect.objectContaining({ code: 'UNIMPLEMENTED' }),
    );
  });

  it.each([
    ['unix:///run/nse.sock', 'LOCAL'],
    ['inode://1/2', 'LOCAL'],
    ['memory:nse', 'LOCAL'],
    ['memory:n1/nse', 'LOCAL'],
    ['memory:n2/nse', 'REMOTE'],
    ['memory:n1', 'LOCAL'],
    ['memory:n11/nse', 'REMOTE'],
    ['memory:/nse', 'REMOTE'],
    ['tcp://10.0.0.1:5001', 'REMOTE'],
    ['nats://d/n1/nse', 'LOCAL'],
    ['nats://d/n2/nse', 'REMOTE'],
  ])('sends to %s only %s', (url, cls) => {
    const own = { domain: 'd', node: 'n1' };
    const kept = filterByNextHop([kernel, vxlan], url, own);
    expect(kept.map((each) => each.cls)).toEqual([cls]);
  });

  it('puts the types of the priority list first', () => {
    expect(orderByPriority([memif, kernel, vxlan], ['VXLAN', 'KERNEL'])).toEqual([
      vxlan,
      kernel,
      memif,
    ]);
  });

  it('reads numbers as the reference does: what cannot be read is 0', () => {
    for (const text of ['', 'x', '-1', '70000', '1e3', ' 1', '99999999999']) {
      expect(
        numberParameter(makeMechanism('REMOTE', 'VXLAN', { src_port: text }), 'src_port', 65_535),
      ).toBe(0);
    }
  });
});

describe('KERNEL', () => {
  it('is read as it was made', () => {
    const known = { netnsUrl: 'inode://4/4026532', interfaceName: 'nsm-1' };
    expect(readKernel(kernelMechanism(known))).toEqual({ ...known, vlanId: 0 });
  });

  it.each([
    [{}],
    [{ netnsUrl: 'tcp://h:1', interfaceName: 'a' }],
    [{ netnsUrl: 'nonsense', interfaceName: 'a' }],
    [{ netnsUrl: 'file:///proc/1/ns/net', interfaceName: 'sixteen-bytes-xx' }],
    [{ netnsUrl: 'file:///proc/1/ns/net', interfaceName: 'a/b' }],
    [{ netnsUrl: 'file:///proc/1/ns/net' }],
  ])('refuses %j', (known) => {
    expect(() => readKernel(kernelMechanism(known))).toThrow(invalidArgument);
  });

  it('gets a name that the kernel takes, made of any service name', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), fc.nat(), (service, seed) => {
        const name = defaultInterfaceName(service, seeded(seed));
        expect(name).toHaveLength(15);
        expect(whyBadInterfaceName(name)).toBeUndefined();
        expect(isDefaultInterfaceName(name, service)).toBe(true);
        expect(isDefaultInterfaceName(`${name.slice(0, -1)}-`, service)).toBe(false);
      }),
    );
    expect(defaultInterfaceName('icmp-responder', seeded(1))).toMatch(
      /^icmp-respo-[0-9A-Za-z]{4}$/,
    );
    expect(defaultInterfaceName('svc', seeded(1))).toMatch(/^svc-[0-9A-Za-z]{11}$/);
  });

  it.each(['', '.', '..', 'a b', 'a:b', 'a/b', 'a\u0000', 'é', '0123456789abcdef'])(
    'has no name %j',
    (name) => {
      expect(whyBadInterfaceName(name)).toBeTruthy();
    },
  );
});

describe('VXLAN', () => {
  const parityOf = (parameters: Record<string, string>) =>
    vniParity(withParameters(vxlan, parameters));

  it('is read as it was made, with the default port where none is given', () => {
    const known = {
      srcIp: '10.0.0.1',
      dstIp: '10.0.0.2',
      srcPort: 1,
      dstPort: 2,
      vni: 7,
      mtu: 1400,
    };
    expect(readVxlan(vxlanMechanism(known))).toEqual(known);
    expect(readVxlan(vxlan)).toMatchObject({ srcPort: 4789, dstPort: 4789, vni: 0, mtu: 0 });
    expect(readVxlan(withParameters(vxlan, { vni: '16777216' })).vni).toBe(0);
  });

  it.each([
    [{ src_ip: '10.0.0.1', dst_ip: '10.0.0.2' }, 'even'],
    [{ src_ip: '10.0.0.2', dst_ip: '10.0.0.2' }, 'even'],
    [{ src_ip: '10.0.0.10', dst_ip: '10.0.0.9' }, 'odd'],
    [{ src_ip: '2001:db8::1', dst_ip: '10.0.0.1' }, 'odd'],
    [{ dst_ip: '10.0.0.1' }, 'even'],
    [{ src_ip: '10.0.0.1' }, 'odd'],
    [{ src_ip: '10.0.0.9', dst_ip: '10.0.0.1', orig_src_ip: '' }, 'even'],
    [{ src_ip: '10.0.0.1', dst_ip: '10.0.0.2', orig_dst_ip: '' }, 'odd'],
    [{ src_ip: '10.0.0.1', dst_ip: '10.0.0.2', orig_src_ip: '10.0.0.3' }, 'odd'],
    [{ src_ip: '10.0.0.9', dst_ip: '10.0.0.1', orig_dst_ip: '10.0.0.10' }, 'even'],
  ])('draws for %j an %s VNI', (parameters, parity) => {
    expect(parityOf(parameters)).toBe(parity);
  });

  it('draws with the parity asked for, never 0, never one that is taken', () => {
    fc.assert(
      fc.property(fc.constantFrom('even' as const, 'odd' as const), fc.nat(), (parity, seed) => {
        const first = drawVni(parity, seeded(seed), () => false);
        const second = drawVni(parity, seeded(seed), (vni) => vni === first);
        for (const vni of [first, second]) {
          expect(vni % 2).toBe(parity === 'even' ? 0 : 1);
          expect(vni).toBeGreaterThan(0);
          expect(vni).toBeLessThanOrEqual(vniMax);
        }
        expect(second).not.toBe(first);
      }),
    );
  });

  it('never draws 0, which would read as no VNI, nor beyond 24 bits', () => {
    const lowest = { ...seeded(0), integer: () => 0 };
    const highest = { ...seeded(0), integer: (exclusiveMax: number) => exclusiveMax - 1 };
    expect(drawVni('even', lowest, () => false)).toBe(2);
    expect(drawVni('odd', lowest, () => false)).toBe(1);
    expect(drawVni('even', highest, () => false)).toBe(vniMax - 1);
    expect(drawVni('odd', highest, () => false)).toBe(vniMax);
  });

  it('finds the last free VNI, and says so where none is left', () => {
    expect(drawVni('even', seeded(3), (vni) => vni !== 2)).toBe(2);
    expect(drawVni('odd', seeded(3), (vni) => vni !== vniMax)).toBe(vniMax);
    expect(() => drawVni('even', seeded(3), () => true)).toThrow(
      expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }),
    );
  });
});

describe('MTU', () => {
  it('is the smallest that anybody has named', () => {
    expect(agreeMtu(0, 1500, 1446)).toBe(1446);
    expect(agreeMtu(0, 0)).toBe(0);
    expect(agreeMtu()).toBe(0);
  });

  it('pays the tunnel', () => {
    expect(tunnelMtu(1500, 'VXLAN', 4)).toBe(1446);
    expect(tunnelMtu(1500, 'VXLAN', 6)).toBe(1426);
    expect(tunnelMtu(9000, 'WIREGUARD', 4)).toBe(8940);
    expect(tunnelMtu(1500, 'WIREGUARD', 6)).toBe(1420);
    expect(tunnelMtu(1500, 'IPSEC', 4)).toBe(1419);
    expect(tunnelMtu(1500, 'IPSEC', 6)).toBe(1399);
    expect(tunnelMtu(1500, 'KERNEL', 4)).toBe(1500);
    expect(tunnelMtu(0, 'VXLAN', 4)).toBe(0);
  });
});
