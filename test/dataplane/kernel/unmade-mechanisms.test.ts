// Protects the refusal of what the kernel's data plane does not make: it names the mechanism and what this kernel lacks of
// it, and touches nothing. The kernel is a stand-in that knows some kinds of links and notes what it is asked for.

import { expect, it } from 'vitest';
import { createKernelDataplane } from '../../../dataplane/kernel/kernel.ts';
import { capabilitiesOf } from '../../../dataplane/kernel/missing-features.ts';
import { errno } from '../../../protocols/netlink/errno.ts';
import type { Wire, WireEnd } from '../../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../../protocols/ports/netlink.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';
import { localWire } from '../../sandbox/wires.ts';

const budget = { timeoutMs: 1_000 };

/** Refuses a link of a known kind for its MTU, one of another kind as not supported; does all else. */
function kernelWith(kinds: readonly string[]): Netlink & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    async execute(program) {
      const what = program[0]?.requests[0]?.what ?? '';
      asked.push(what);
      const kind = /^ask for a link of kind (\w+)$/.exec(what)?.[1];
      if (kind === undefined) return { ok: true, answers: [] };
      const number = kinds.includes(kind) ? errno.invalid : errno.notSupported;
      const failure = { step: 0, request: 0, code: 'INTERNAL', errno: number } as const;
      return { ok: false, failure: { ...failure, what, found: 'refused', undoFailures: [] } };
    },
    watchLinks: () => () => {},
    close: async () => {},
  };
}

function driverOn(kinds: readonly string[]) {
  const netlink = kernelWith(kinds);
  const owner = { installation: 'ours', forwarder: 'first' };
  return {
    netlink,
    driver: createKernelDataplane({ netlink, clock: createManualClock(), ...owner }),
  };
}

const addresses = {
  localIp: '10.0.0.1',
  localPort: 51_820,
  remoteIp: '10.0.0.2',
  remotePort: 51_820,
};
const wireTo = (endpoint: WireEnd): Wire => ({
  ...localWire({ client: 'inode://4/1', endpoint: 'inode://4/2' }, 1),
  endpoint,
});
const wireguard: WireEnd = {
  kind: 'wireguard',
  ...addresses,
  keyName: 'name',
  publicKey: 'a',
  peerPublicKey: 'b',
};
const ipsec: WireEnd = {
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
const memif: WireEnd = {
  kind: 'memif',
  socket: { kind: 'file', url: 'file:///run/memif.sock' },
  role: 'slave',
  mode: 'ip',
};

it.each([
  ['wireguard', wireguard, [], 'the kernel has no link type wireguard'],
  ['ipsec', ipsec, [], 'the kernel has no link type xfrm'],
  ['ipsec', ipsec, ['xfrm'], 'the kernel has the link type xfrm'],
  ['memif', memif, [], 'a data plane in user space'],
] as const)(
  '%s is refused, with what the kernel has of it: %j %j',
  async (kind, end, kinds, found) => {
    const { driver, netlink } = driverOn(['veth', 'vxlan', ...kinds]);
    const { mechanisms, missing } = await driver.probe(budget);
    expect(mechanisms).toEqual(['KERNEL', 'VXLAN']);
    expect(missing.find((line) => line.startsWith(`${kind.toUpperCase()}: `))).toContain(found);
    const probed = netlink.asked.length;
    await expect(driver.ensure(wireTo(end), budget)).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      message: expect.stringContaining(kind),
      details: {
        rule: 'mechanism',
        expected: 'one of kernel, vxlan',
        found: expect.stringContaining(found),
        remedy: expect.stringContaining('VPP'),
      },
    });
    expect(netlink.asked.length).toBe(probed);
  },
);

const all = {
  veth: true,
  vxlan: true,
  bridge: true,
  redirect: true,
  sourceFilter: true,
  wireguardFamily: 33,
  addedHeader: true,
  xfrm: false,
  checksumFamily: 21,
};
const means = { hasSecrets: true, prefersBridge: false };

it.each([
  ['all that it takes', all, means, undefined],
  ['no such links', { ...all, wireguardFamily: undefined }, means, 'CONFIG_WIREGUARD'],
  ['no action that adds headers', { ...all, addedHeader: false }, means, 'CONFIG_NET_ACT_VLAN'],
  ['no redirects', { ...all, redirect: false }, means, 'redirect filters'],
  ['bridges asked for', all, { ...means, prefersBridge: true }, 'redirect filters'],
  ['no keys', all, { ...means, hasSecrets: false }, 'no keys'],
])(
  'WIREGUARD is offered with all that it takes, else its lack is named: %s',
  (_, features, given, lack) => {
    const { mechanisms, missing } = capabilitiesOf(features, given);
    expect(mechanisms.includes('WIREGUARD')).toBe(lack === undefined);
    const line = missing.find((each) => each.startsWith('WIREGUARD: '));
    if (lack === undefined) expect(line).toBeUndefined();
    else expect(line).toContain(lack);
  },
);
