// Protects what the driver does to VPP for a WireGuard wire, over a VPP in memory: killed or refused at any step it leaves
// what the next life completes or takes away, and touches nobody else's tunnels; the old way stands until the new one does.

import { beforeEach, describe, expect, test } from 'vitest';
import { createVppDataplane } from '../../../dataplane/vpp/vpp.ts';
import type { Dataplane, Wire, WireguardEnd } from '../../../protocols/ports/dataplane.ts';
import type { TunnelSecrets } from '../../../protocols/ports/tunnel-keys.ts';
import { encodeBase64 } from '../../../protocols/spiffe/base64url.ts';
import { allOnes } from '../../../protocols/vpp/messages/enums.ts';
import { vppAddress } from '../../../protocols/vpp/vpp-address.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { createFakeVpp, type FakeVpp, noStatistics } from '../../sandbox/fake-vpp.ts';
import { createPlannedFaults, faultyVpp } from '../../sandbox/planned-faults.ts';
import { localWire } from '../../sandbox/wires.ts';
import { createFakeEnds, type FakeEnds } from './fake-ends.ts';

const budget = { timeoutMs: 5_000 };
const stepsMax = 100;

/** In the VPP in memory a private key is its public one. */
function key(name: string): Uint8Array {
  const bytes = new Uint8Array(32);
  bytes.set(new TextEncoder().encode(name));
  return bytes;
}

const secrets: TunnelSecrets = { wireguardPrivateKey: key };

function tunnelTo(remote: number, change: Partial<WireguardEnd> = {}): WireguardEnd {
  return {
    kind: 'wireguard',
    localIp: '192.0.2.1',
    remoteIp: `192.0.2.${remote}`,
    localPort: 61_000 + remote,
    remotePort: 61_000,
    keyName: `own ${remote}`,
    publicKey: encodeBase64(key(`own ${remote}`)),
    peerPublicKey: encodeBase64(key(`peer ${remote}`)),
    ...change,
  };
}

const here = { ...localWire({ client: 'a', endpoint: 'b' }, 1), payload: 'IP' } as const;
const wire: Wire = { ...here, endpoint: tunnelTo(2) };
const elsewhere: Wire = { ...here, endpoint: tunnelTo(3) };

describe('a WireGuard wire', () => {
  const faults = createPlannedFaults();
  let vpp: FakeVpp;
  let ends: FakeEnds;

  beforeEach(() => {
    faults.heal();
    vpp = createFakeVpp();
    ends = createFakeEnds();
  });

  const driver = (forwarder = 'first'): Dataplane =>
    createVppDataplane({
      installation: 'ours',
      forwarder,
      vpp: faultyVpp(vpp, faults),
      ends,
      statistics: noStatistics,
      clock: systemClock,
      secrets,
    });

  /** Of wires; the loopback that they share stays. */
  async function interfaces(): Promise<string[]> {
    const found = await vpp.dump('sw_interface_dump', { sw_if_index: allOnes }, budget);
    return found.map(({ interface_name: name }) => name).filter((name) => name !== 'loop0');
  }
  const count = async (dump: 'l3xc_dump' | 'wireguard_peers_dump') => {
    const fields = { sw_if_index: allOnes, peer_index: allOnes };
    return (await vpp.dump(dump, fields, budget)).length;
  };

  test('is a tunnel with its peer and a way through for both families, each way', async () => {
    const dataplane = driver();
    await dataplane.ensure(wire, budget);
    expect(await interfaces()).toEqual([
      expect.stringMatching(/^host-/),
      expect.stringMatching(/^wg\d+$/),
    ]);
    expect(await count('l3xc_dump')).toBe(4);
    expect(await dataplane.list(budget)).toMatchObject([{ complete: true, missing: [] }]);
    const before = vpp.log.length;
    await dataplane.ensure(wire, budget);
    expect(vpp.log.slice(before)).toEqual([]);
    await dataplane.remove([wire.id], budget);
    expect([await interfaces(), await count('l3xc_dump')]).toEqual([[], 0]);
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
          expect(await count('wireguard_peers_dump'), `step ${step}`).toBe(1);
        }
        await next.remove([wire.id], budget);
        expect(await interfaces(), `step ${step}`).toEqual([]);
        if (!hasStruck) return;
      }
      expect.fail(`more than ${stepsMax} steps`);
    },
  );

  test.each([
    ['an Endpoint of this node', here],
    ['another tunnel', elsewhere],
    ['the same tunnel with another peer', { ...here, endpoint: tunnelTo(2, { remotePort: 1 }) }],
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

  test("leaves others' tunnels alone, tagged or not, and takes no peer from them", async () => {
    const sibling = driver('second');
    await sibling.ensure({ ...elsewhere, id: 'theirs' }, budget);
    const foreign = { user_instance: 7, private_key: key('x'), port: 1, src_ip: vppAddress('::1') };
    await vpp.request('wireguard_interface_create', { interface: foreign }, budget);
    const dataplane = driver();
    await dataplane.ensure(wire, budget);
    const taken = tunnelTo(4, { peerPublicKey: encodeBase64(key('peer 3')) });
    await expect(
      dataplane.ensure({ ...wire, id: 'thief', endpoint: taken }, budget),
    ).rejects.toMatchObject({ code: 'ALREADY_EXISTS', details: { rule: 'WireGuard peer' } });
    await dataplane.remove([wire.id, 'thief'], budget);
    expect(await interfaces()).toEqual(expect.arrayContaining(['wg7']));
    expect(await sibling.inspect('theirs', budget)).toEqual([]);
  });

  test('is back after VPP has lost everything', async () => {
    const dataplane = driver();
    await dataplane.ensure(wire, budget);
    vpp.kill();
    vpp.start();
    await expect
      .poll(async () => (await dataplane.list(budget))[0]?.missing, { timeout: 5_000 })
      .toEqual([]);
    expect(await count('wireguard_peers_dump')).toBe(1);
  });
});
