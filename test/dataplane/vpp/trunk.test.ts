// Protects the trunk as far as the kernel and the driver have it, over a VPP in memory: what others do to it, or to the links
// that lead to it, is told or put back; ends that an earlier version gave a host interface keep it; a kernel without programs
// gets those as well.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { linksOf } from '../../../bin/demo/namespace-links.ts';
import { createWireEnds } from '../../../dataplane/kernel/wire-ends.ts';
import { createVppDataplane } from '../../../dataplane/vpp/vpp.ts';
import { trunkLinkName } from '../../../dataplane/vpp/tags.ts';
import {
  changeLinkByName,
  createVeth,
  deleteLinkByName,
  getLinkByName,
  parseLink,
} from '../../../protocols/netlink/link.ts';
import { dumpIngressFilters } from '../../../protocols/netlink/traffic-control.ts';
import { parseIngressProgram } from '../../../protocols/netlink/traffic-program.ts';
import type { EncodedMessage } from '../../../protocols/netlink/codec.ts';
import type { Dataplane, DataplaneEvent, Wire } from '../../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../../protocols/ports/netlink.ts';
import { allOnes } from '../../../protocols/vpp/messages/enums.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { createFakeVpp, type FakeVpp, noStatistics } from '../../sandbox/fake-vpp.ts';
import { harmWire, wireLink } from '../../sandbox/harm-wire.ts';
import { createSandbox, type Sandbox, whyNoNamespaces } from '../../sandbox/namespaces.ts';
import { type EndPlaces, localWire } from '../../sandbox/wires.ts';

const budget = { timeoutMs: 10_000 };
const owner = { installation: 'ours', forwarder: 'first' };
const reason = whyNoNamespaces();

describe.skipIf(reason !== undefined)(`the trunk to VPP ${reason ?? ''}`, () => {
  let sandbox: Sandbox;
  let node: NetworkNamespace;
  let netlink: Netlink;
  let vpp: FakeVpp;
  let wire: Wire;
  let places: EndPlaces;
  let closes: (() => Promise<void>)[];

  beforeEach(() => {
    sandbox = createSandbox();
    node = sandbox.namespace();
    netlink = createNetlink({ namespace: node.url });
    vpp = createFakeVpp();
    closes = [];
    const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
    places = { client: client.url, endpoint: endpoint.url };
    wire = localWire(places, 1);
  });

  afterEach(async () => {
    for (const close of closes) await close();
    await netlink.close();
    await sandbox.close();
  });

  function driver(trunkNetlink = netlink, hasTrunks = true): Dataplane {
    const made = createVppDataplane({
      ...owner,
      vpp,
      clock: systemClock,
      statistics: noStatistics,
      ends: createWireEnds({ ...owner, netlink, clock: systemClock }),
      netlink: trunkNetlink,
      hasTrunks,
    });
    closes.push(() => made.close());
    return made;
  }

  const ask = (what: string, message: EncodedMessage) =>
    netlink.execute([{ protocol: 'route', requests: [{ what, message }] }], budget);

  const names = async (): Promise<string[]> => {
    const found = await vpp.dump('sw_interface_dump', { sw_if_index: allOnes }, budget);
    return found.map(({ interface_name: name }) => name);
  };

  /** Of one of the wire's trunks: the side that VPP has, and its number there. */
  async function trunk(): Promise<{ readonly outer: string; readonly index: number }> {
    const found = await vpp.dump('sw_interface_dump', { sw_if_index: allOnes }, budget);
    const host = found.find(({ interface_name: name }) => !name.includes('.'));
    if (host === undefined) throw new Error('no trunk');
    return { outer: host.interface_name.slice('host-'.length), index: host.sw_if_index };
  }

  const trunkLinks = async (): Promise<string[]> =>
    (await linksOf(netlink, node.url))
      .map(({ name }) => name)
      .filter((name) => name.startsWith('vt'));

  function damageOf(dataplane: Dataplane): DataplaneEvent[] {
    const heard: DataplaneEvent[] = [];
    dataplane.watch((event) => {
      if (event.kind === 'damaged') heard.push(event);
    });
    return heard;
  }

  async function expectWhole(dataplane: Dataplane): Promise<void> {
    expect(await dataplane.inspect(wire.id, budget)).toEqual([]);
    expect(await dataplane.list(budget)).toMatchObject([{ id: wire.id, complete: true }]);
  }

  test('wires share host interfaces, and each end has a branch of one', async () => {
    const dataplane = driver();
    const others = Array.from({ length: 9 }, (_, at) => localWire(places, at + 2));
    for (const each of [wire, ...others]) await dataplane.ensure(each, budget);
    const all = await names();
    expect(all.filter((name) => name.includes('.'))).toHaveLength(20);
    expect(all.filter((name) => !name.includes('.')).length).toBeLessThanOrEqual(8);
    expect((await dataplane.list(budget)).every(({ complete }) => complete)).toBe(true);
    await dataplane.remove(
      others.map(({ id }) => id),
      budget,
    );
    expect((await names()).filter((name) => name.includes('.'))).toHaveLength(2);
    await expectWhole(dataplane);
  });

  test('the last wire takes the trunks with it, also those of an earlier life', async () => {
    const dataplane = driver();
    const second = localWire(places, 2);
    for (const each of [wire, second]) await dataplane.ensure(each, budget);
    await dataplane.remove([second.id], budget);
    expect(await names()).not.toEqual([]);
    await Promise.all([dataplane.remove([wire.id], budget), dataplane.ensure(second, budget)]);
    expect(await dataplane.list(budget)).toMatchObject([{ id: second.id, complete: true }]);
    await dataplane.remove([second.id], budget);
    expect(await names()).toEqual([]);
    expect(await trunkLinks()).toEqual([]);
    // As where it was killed, and VPP has ended meanwhile.
    await dataplane.ensure(wire, budget);
    await dataplane.close();
    vpp.kill();
    vpp.start();
    await createWireEnds({ ...owner, netlink, clock: systemClock }).remove([wire.id], budget, {
      leave: async () => {},
    });
    expect(await trunkLinks()).not.toEqual([]);
    expect(await driver().list(budget)).toEqual([]);
    expect(await trunkLinks()).toEqual([]);
  });

  test('frames that do not fit into those of one trunk go over another', async () => {
    const dataplane = driver();
    await dataplane.ensure(wire, budget);
    await dataplane.ensure({ ...wire, mtu: 9000 }, budget);
    const branches = (await names()).filter((name) => name.includes('.'));
    const large = [0, 1].map((lane) => trunkLinkName(owner, { frames: 1, lane }, 'o'));
    expect(branches).toHaveLength(2);
    for (const name of branches) expect(large).toContain(name.slice('host-'.length).split('.')[0]);
    await expectWhole(dataplane);
    // Smaller ones still fit.
    const before = vpp.log.length;
    await dataplane.ensure({ ...wire, mtu: 1500 }, budget);
    expect(vpp.log.slice(before).filter((line) => !line.startsWith('join'))).toEqual([]);
    await expectWhole(driver());
  });

  test('an end whose frames fit no trunk gets a host interface of its own, and leads to no trunk', async () => {
    const dataplane = driver();
    await dataplane.ensure(wire, budget);
    const led = async (): Promise<boolean> => {
      const link = await wireLink({ netlink, node: node.url }, wire.id, 'client');
      const outcome = await ask('list its filters', dumpIngressFilters(link?.index ?? 0));
      const filters = outcome.ok ? (outcome.answers[0]?.[0]?.messages ?? []) : [];
      return filters.some((message) => parseIngressProgram(message) !== undefined);
    };
    expect(await led()).toBe(true);
    await dataplane.ensure({ ...wire, mtu: 65_535 }, budget);
    expect((await names()).filter((name) => name.startsWith('host-vw'))).toHaveLength(2);
    expect((await names()).filter((name) => name.includes('.'))).toEqual([]);
    expect(await led()).toBe(false);
    await expectWhole(dataplane);
  });

  test.each(['filterless', 'blocked', 'rehooked'] as const)(
    'a link that does not lead to the trunk any more is told once, and led there again: %s',
    async (harm) => {
      const dataplane = driver();
      const heard = damageOf(dataplane);
      await dataplane.ensure(wire, budget);
      await harmWire({ netlink: sandboxNetlink(), node: node.url }, harm, { wire, side: 'client' });
      await eventually('it is told', 5_000, () => expect(heard).toHaveLength(1));
      expect(await dataplane.list(budget)).toMatchObject([{ id: wire.id, complete: false }]);
      await dataplane.ensure(wire, budget);
      await expectWhole(dataplane);
    },
  );

  /** Somebody else's socket: what this process does by its own is no harm. */
  function sandboxNetlink(): Netlink {
    const made = createNetlink({ namespace: node.url });
    closes.push(() => made.close());
    return made;
  }

  test('a trunk whose links are deleted is made again, and its wires are told to be damaged', async () => {
    const dataplane = driver();
    const heard = damageOf(dataplane);
    await dataplane.ensure(wire, budget);
    await ask('delete the trunk', deleteLinkByName((await trunk()).outer));
    await eventually('it is told', 5_000, () => expect(heard).toHaveLength(1));
    await dataplane.ensure(wire, budget);
    await expectWhole(dataplane);
  });

  test.each([['link'], ['interface in VPP']])(
    'a trunk whose %s is set down is set up again',
    async (what) => {
      const dataplane = driver();
      damageOf(dataplane);
      await dataplane.ensure(wire, budget);
      const { outer, index } = await trunk();
      if (what === 'link') await ask('set it down', changeLinkByName(outer, { isUp: false }));
      else vpp.change('sw_interface_set_flags', { sw_if_index: index, flags: 0 });
      const isUp = async (): Promise<boolean> => {
        const [found] = await vpp.dump('sw_interface_dump', { sw_if_index: index }, budget);
        const outcome = await ask('find it', getLinkByName(outer));
        const message = outcome.ok ? outcome.answers[0]?.[0]?.messages[0] : undefined;
        return found?.flags === 1 && message !== undefined && parseLink(message)?.isUp === true;
      };
      await eventually('it is up', 5_000, async () => expect(await isUp()).toBe(true));
      await expectWhole(dataplane);
    },
  );

  test('another life of the forwarder finds the trunk, and what was done to it meanwhile', async () => {
    await driver().ensure(wire, budget);
    const before = await names();
    const restarted = driver();
    await expectWhole(restarted);
    expect(await names()).toEqual(before);
    await ask('delete the trunk', deleteLinkByName((await trunk()).outer));
    const third = driver();
    expect(await third.list(budget)).toMatchObject([{ id: wire.id, complete: false }]);
    await third.ensure(wire, budget);
    await expectWhole(third);
  });

  test('ends with host interfaces of their own keep them, and get branches in a VPP that comes up', async () => {
    const noTrunk = driver(netlink, false);
    await noTrunk.ensure(wire, budget);
    await noTrunk.close();
    const before = await names();
    const upgraded = driver();
    await upgraded.ensure(wire, budget);
    expect(await names()).toEqual(before);
    await expectWhole(upgraded);
    vpp.kill();
    vpp.start();
    await eventually('it is back', 5_000, async () => {
      expect((await names()).filter((name) => name.includes('.'))).toHaveLength(2);
      await expectWhole(upgraded);
    });
  });

  test('where the kernel takes no program each end has a host interface of its own', async () => {
    const dataplane = driver(withoutPrograms(netlink));
    await dataplane.ensure(wire, budget);
    expect((await names()).every((name) => name.startsWith('host-vw'))).toBe(true);
    await expectWhole(dataplane);
  });

  test("a link of the trunk's name that is somebody else's is left alone", async () => {
    for (let lane = 0; lane < 8; lane++) {
      const name = trunkLinkName(owner, { frames: 0, lane }, 'o');
      const peer = { name: trunkLinkName(owner, { frames: 0, lane }, 'i') };
      await ask('make it', createVeth({ name, group: 0, mtu: 0, peer }));
      await ask('tag it', changeLinkByName(name, { alias: 'theirs' }));
    }
    await expect(driver().ensure(wire, budget)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: { rule: 'trunk', found: 'theirs' },
    });
    expect(await names()).toEqual([]);
  });
});

/** A kernel that refuses every program, as one without the right to load some. */
function withoutPrograms(inner: Netlink): Netlink {
  return {
    watchLinks: (scope, listener) => inner.watchLinks(scope, listener),
    close: () => inner.close(),
    async execute(steps, ownBudget) {
      const position = steps
        .flatMap(({ requests }) => requests)
        .findIndex(({ message }) => message.holes.some(({ reference }) => 'program' in reference));
      if (position < 0) return inner.execute(steps, ownBudget);
      const failure = { step: 0, request: position, code: 'PERMISSION_DENIED', errno: 1 } as const;
      const said = { what: 'add a program', found: 'EPERM', undoFailures: [] };
      return { ok: false, failure: { ...failure, ...said } };
    },
  };
}
