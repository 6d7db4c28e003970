// Protects what the driver does to VPP for an IPsec wire, over a VPP in memory: killed or refused at any step it leaves what
// the next life completes or takes away, and touches nobody else's; keys are where VPP reads them and nowhere else.

import { beforeEach, describe, expect, test } from 'vitest';
import { createVppDataplane } from '../../../dataplane/vpp/vpp.ts';
import type { Dataplane, IpsecEnd, Wire } from '../../../protocols/ports/dataplane.ts';
import type { KeyFiles } from '../../../protocols/ports/key-files.ts';
import type { TunnelSecrets } from '../../../protocols/ports/tunnel-keys.ts';
import { ikeAuthMethod } from '../../../protocols/vpp/messages/crypto-messages.ts';
import { allOnes } from '../../../protocols/vpp/messages/enums.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { createFakeVpp, type FakeVpp, noStatistics } from '../../sandbox/fake-vpp.ts';
import { createPlannedFaults, faultyVpp } from '../../sandbox/planned-faults.ts';
import { localWire } from '../../sandbox/wires.ts';
import { createFakeEnds, type FakeEnds } from './fake-ends.ts';

const budget = { timeoutMs: 5_000 };
const stepsMax = 150;
const localIp = '192.0.2.1';

const secrets: TunnelSecrets = {
  wireguardPrivateKey: () => new Uint8Array(32),
  ipsecPrivateKey: Uint8Array.of(1, 2, 3),
};

/** Identities as long as real ones. */
const certificate = (name: string): string => name.padEnd(64, '.');

function tunnelTo(remote: number, change: Partial<IpsecEnd> = {}): IpsecEnd {
  const [own, peer] = [certificate(`own ${remote}`), certificate(`peer ${remote}`)];
  return {
    kind: 'ipsec',
    localIp,
    remoteIp: `192.0.2.${remote}`,
    localPort: 4500,
    remotePort: 4500,
    certificate: own,
    peerCertificate: peer,
    identity: own,
    peerIdentity: peer,
    nearAddress: '172.16.1.1',
    farAddress: '172.16.1.0',
    initiates: true,
    ...change,
  };
}

const here = { ...localWire({ client: 'a', endpoint: 'b' }, 1), payload: 'IP' } as const;
const wire: Wire = { ...here, endpoint: tunnelTo(2) };
const elsewhere: Wire = { ...here, endpoint: tunnelTo(3) };

describe('an IPsec wire', () => {
  const faults = createPlannedFaults();
  let vpp: FakeVpp;
  let ends: FakeEnds;
  let written: string[];
  let filesInUse: number;

  const keyFiles: KeyFiles = {
    async during(text, use) {
      written.push(text);
      filesInUse += 1;
      try {
        return await use(`/keys/${written.length}`);
      } finally {
        filesInUse -= 1;
      }
    },
  };

  beforeEach(() => {
    faults.heal();
    vpp = createFakeVpp();
    giveAddress();
    ends = createFakeEnds();
    written = [];
    filesInUse = 0;
  });

  /** An interface of VPP's that holds the outer address. */
  const giveAddress = () => void vpp.change('test_give_address', { address: `${localIp}/24` });

  const driver = (forwarder = 'first'): Dataplane =>
    createVppDataplane({
      installation: 'ours',
      forwarder,
      vpp: faultyVpp(vpp, faults),
      ends,
      statistics: noStatistics,
      clock: systemClock,
      secrets,
      keyFiles,
    });

  /** Of wires; the loopback that they share stays, as does the way to other nodes. */
  async function interfaces(): Promise<string[]> {
    const found = await vpp.dump('sw_interface_dump', { sw_if_index: allOnes }, budget);
    return found
      .map(({ interface_name: name }) => name)
      .filter((name) => !['loop0', 'uplink'].includes(name));
  }
  const profiles = async () =>
    (await vpp.dump('ikev2_profile_dump', {}, budget)).map(({ profile }) => profile);
  const addProfile = async (name: string): Promise<void> => {
    await vpp.request('ikev2_profile_add_del', { name, is_add: true }, budget);
    const auth = {
      auth_method: ikeAuthMethod.rsaSignature,
      is_hex: false,
      data: Uint8Array.of(47),
    };
    await vpp.request('ikev2_profile_set_auth', { name, ...auth }, budget);
  };

  test('is a tunnel with its profile, agreed on, which a second ensure leaves alone', async () => {
    const dataplane = driver();
    await dataplane.ensure(wire, budget);
    expect(await interfaces()).toEqual([
      expect.stringMatching(/^host-/),
      expect.stringMatching(/^ipsec\d+$/),
    ]);
    expect(await profiles()).toMatchObject([
      {
        loc_id: { data: certificate('own 2').slice(0, 63) },
        rem_id: { data: certificate('peer 2').slice(0, 63) },
        lifetime: 3600n,
      },
    ]);
    expect(await dataplane.list(budget)).toMatchObject([{ complete: true, missing: [] }]);
    const before = vpp.log.length;
    await dataplane.ensure(wire, budget);
    expect(vpp.log.slice(before)).toEqual([]);
    await dataplane.remove([wire.id], budget);
    expect([await interfaces(), await profiles()]).toEqual([[], []]);
  });

  test('gives VPP the private key once, and the certificate of each peer, in files that are gone at once', async () => {
    const dataplane = driver();
    await dataplane.ensure(wire, budget);
    await dataplane.ensure({ ...elsewhere, id: 'another' }, budget);
    expect(written.map((text) => text.split('\n')[0])).toEqual([
      '-----BEGIN PRIVATE KEY-----',
      '-----BEGIN CERTIFICATE-----',
      '-----BEGIN CERTIFICATE-----',
    ]);
    expect(filesInUse).toBe(0);
  });

  test('waits for the other node where it does not begin, and is none the less whole', async () => {
    const dataplane = driver();
    await dataplane.ensure({ ...here, endpoint: tunnelTo(2, { initiates: false }) }, budget);
    expect(await dataplane.list(budget)).toMatchObject([{ complete: true, missing: [] }]);
    expect(await profiles()).toMatchObject([{ responder: { sw_if_index: allOnes } }]);
  });

  test('keeps an agreement that stands while the peer shows other certificates, and asks by the last one after it', async () => {
    const dataplane = driver();
    await dataplane.ensure(wire, budget);
    const other = certificate('another of 2');
    const renewed = { peerCertificate: other, peerIdentity: other };
    const again: Wire = { ...here, endpoint: tunnelTo(2, renewed) };
    const before = vpp.log.length;
    await dataplane.ensure(again, budget);
    expect(vpp.log.slice(before)).toEqual([]);
    const found = await vpp.dump('sw_interface_dump', { sw_if_index: allOnes }, budget);
    const tunnel = found.find(({ interface_name: name }) => name.startsWith('ipsec'));
    const index = tunnel?.sw_if_index ?? allOnes;
    await vpp.request('sw_interface_set_flags', { sw_if_index: index, flags: 0 }, budget);
    expect(await dataplane.inspect(wire.id, budget)).toEqual([
      expect.stringMatching(/^ipsec\d+ towards the Endpoint has not agreed with the other node$/),
    ]);
    await dataplane.ensure(again, budget);
    expect(await dataplane.inspect(wire.id, budget)).toEqual([]);
    expect(await profiles()).toMatchObject([{ rem_id: { data: other.slice(0, 63) } }]);
  });

  test.each([
    ['a set-up', undefined],
    ['a retarget from an Endpoint of this node', here],
    ['a retarget from another tunnel', elsewhere],
  ])(
    'that is killed at any step of %s is completed, or taken away, by the next life',
    async (_, from) => {
      for (let step = 0; step < stepsMax; step++) {
        if (from !== undefined) await driver().ensure(from, budget);
        faults.crashAt(step);
        await driver()
          .ensure(wire, budget)
          .catch(() => {});
        const { hasStruck } = faults;
        faults.heal();
        const next = driver();
        if (step % 2 === 0) {
          await next.ensure(wire, budget);
          expect(await next.list(budget), `step ${step}`).toMatchObject([{ complete: true }]);
          expect(await profiles(), `step ${step}`).toHaveLength(1);
        }
        await next.remove([wire.id], budget);
        expect([await interfaces(), await profiles()], `step ${step}`).toEqual([[], []]);
        if (!hasStruck) return;
      }
      expect.fail(`more than ${stepsMax} steps`);
    },
  );

  test.each([
    ['an Endpoint of this node', here],
    ['another tunnel', elsewhere],
  ])('that is refused at any step of a retarget from %s leaves that as it was', async (_, from) => {
    const dataplane = driver();
    await dataplane.ensure(from, budget);
    const before = await interfaces();
    for (let step = 0; step < stepsMax; step++) {
      faults.failAt(step);
      const failure = await dataplane.ensure(wire, budget).catch((error: unknown) => error);
      const { hasStruck } = faults;
      faults.heal();
      const missing = await dataplane.inspect(wire.id, budget);
      // Once it is turned over, all that can be refused is that what was before goes.
      const isTurned = missing.length > 0 && missing.every((line) => line.endsWith('left over'));
      if (failure !== undefined && !isTurned) {
        expect(missing, `step ${step}`).toEqual([]);
        expect(await interfaces(), `step ${step}`).toEqual(before);
      }
      await dataplane.ensure(from, budget);
      if (!hasStruck) return;
    }
    expect.fail(`more than ${stepsMax} steps`);
  });

  test("leaves others' tunnels and profiles alone", async () => {
    await vpp.request('ipsec_itf_create', { itf: { user_instance: 7 } }, budget);
    await vpp.request('ikev2_profile_add_del', { name: 'theirs', is_add: true }, budget);
    const dataplane = driver();
    await dataplane.ensure(wire, budget);
    await dataplane.remove([wire.id], budget);
    expect(await interfaces()).toEqual(['ipsec7']);
    expect(await profiles()).toMatchObject([{ name: 'theirs' }]);
  });

  test('is refused where somebody else proves himself to others by the one key that VPP has', async () => {
    await addProfile('theirs');
    await expect(driver().ensure(wire, budget)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: { rule: 'IKEv2 key', found: 'profile theirs', remedy: expect.any(String) },
    });
    expect(written).toEqual([]);
    expect(await interfaces()).toEqual([]);
  });

  test('is refused, naming what there is, where VPP does not have the outer address first', async () => {
    const end = tunnelTo(2, { localIp: '192.0.2.9' });
    await expect(driver().ensure({ ...here, endpoint: end }, budget)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: { rule: 'outer address', found: `${localIp} at uplink` },
    });
  });

  test('is refused on another port, over IPv6, for frames, and where no keys are at hand', async () => {
    const dataplane = driver();
    const outer = { localIp: 'fd77::1', remoteIp: 'fd77::2' };
    await expect(
      dataplane.ensure({ ...here, endpoint: tunnelTo(2, outer) }, budget),
    ).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      details: { rule: 'outer address of IPSEC', found: 'fd77::2', remedy: expect.any(String) },
    });
    const ported = { ...here, endpoint: tunnelTo(2, { remotePort: 4501 }) };
    await expect(dataplane.ensure(ported, budget)).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      details: { rule: 'UDP port of IPSEC', expected: '4500', found: '4501' },
    });
    const frames: Wire = { ...wire, payload: 'ETHERNET' };
    await expect(dataplane.ensure(frames, budget)).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      details: { rule: 'payload' },
    });
    const keyless = createVppDataplane({
      installation: 'ours',
      forwarder: 'first',
      vpp,
      ends,
      statistics: noStatistics,
      clock: systemClock,
    });
    await expect(keyless.ensure(wire, budget)).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      details: { found: 'ipsec' },
    });
  });

  test('is back after VPP has lost everything, its key as well', async () => {
    const dataplane = driver();
    await dataplane.ensure(wire, budget);
    vpp.kill();
    giveAddress();
    written = [];
    vpp.start();
    await expect
      .poll(async () => (await dataplane.list(budget))[0]?.missing, { timeout: 5_000 })
      .toEqual([]);
    expect(await profiles()).toHaveLength(1);
    expect(written[0]).toMatch(/PRIVATE KEY/);
  });
});
