// Protects wires whose harm nobody told of, because the kernel dropped its events: once it says so everything is looked
// over, each harmed wire is told, an end whose namespace is gone apart from one that can be repaired, and no other.

import { describe, expect, test } from 'vitest';

import { createKernelDataplane } from '../../../dataplane/kernel/kernel.ts';
import { changeLinkByName } from '../../../protocols/netlink/link.ts';
import type { DataplaneEvent } from '../../../protocols/ports/dataplane.ts';
import type { LinkEvent, Netlink } from '../../../protocols/ports/netlink.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { harmWire } from '../../sandbox/harm-wire.ts';
import { createSandbox, whyNoNamespaces } from '../../sandbox/namespaces.ts';
import { localWire, tunnel } from '../../sandbox/wires.ts';

const budget = { timeoutMs: 10_000 };

/** Hears nothing of the kernel but that it missed something. */
function deafNetlink(inner: Netlink): Netlink & { readonly lose: () => void } {
  let tell: (event: LinkEvent) => void = () => {};
  return {
    execute: (program, limits) => inner.execute(program, limits),
    watchLinks(_, listener) {
      tell = listener;
      return () => {
        tell = () => {};
      };
    },
    close: () => inner.close(),
    lose: () => tell({ kind: 'lost' }),
  };
}

/** Hears everything; the first look after `lose` is told what it found only once `answer` is called. */
function slowNetlink(inner: Netlink) {
  let tell: (event: LinkEvent) => void = () => {};
  let hasLooked: (() => void) | undefined;
  let answer: () => void = () => {};
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const netlink: Netlink = {
    async execute(program, limits) {
      const looked = hasLooked;
      hasLooked = undefined;
      const found = await inner.execute(program, limits);
      if (looked === undefined) return found;
      looked();
      await answered;
      return found;
    },
    watchLinks(scope, listener) {
      tell = listener;
      return inner.watchLinks(scope, (event) => {
        if (event.kind !== 'lost') listener(event);
      });
    },
    close: () => inner.close(),
  };
  const lose = () =>
    new Promise<void>((resolve) => {
      hasLooked = resolve;
      tell({ kind: 'lost' });
    });
  return { netlink, lose, answer };
}

const setInterface = (isUp: boolean) => ({
  message: changeLinkByName('nsm-1', { isUp }),
  what: `set nsm-1 ${isUp ? 'up' : 'down'}`,
});

const reason = whyNoNamespaces();

describe.skipIf(reason !== undefined)(`events that were lost ${reason ?? ''}`, () => {
  test('lead to a look over all wires', async () => {
    const sandbox = createSandbox();
    const node = sandbox.namespace();
    const [client, endpoint, ending] = [
      sandbox.namespace(),
      sandbox.namespace(),
      sandbox.namespace(),
    ];
    const netlink = deafNetlink(createNetlink({ namespace: node.url }));
    const owner = { installation: 'ours', forwarder: 'deaf' };
    const driver = createKernelDataplane({ netlink, clock: systemClock, ...owner });
    const heard: DataplaneEvent[] = [];
    driver.watch((event) => {
      if (event.kind === 'damaged' || event.kind === 'namespaceGone') heard.push(event);
    });
    const places = { client: client.url, endpoint: endpoint.url };
    const local = (number: number) => localWire(places, number);
    const localIp = '127.0.0.1';
    const ends = { localIp, remoteIp: localIp, localPort: 4788, remotePort: 4789, vni: 9 };
    const wires = {
      whole: local(1),
      unfiltered: local(2),
      deleted: local(3),
      remote: { ...local(4), endpoint: tunnel(ends) },
      // By its number, for the path of a closed descriptor may soon lead to somebody else's.
      ending: localWire({ ...places, client: ending.inodeUrl }, 5),
    };
    for (const wire of Object.values(wires)) await driver.ensure(wire, budget);
    const place = { netlink, node: node.url };
    await harmWire(place, 'filterless', { wire: wires.unfiltered, side: 'client' });
    await harmWire(place, 'deleted', { wire: wires.deleted, side: 'client' });
    await harmWire(place, 'unfiltered', { wire: wires.remote, side: 'endpoint' });
    ending.close();
    netlink.lose();
    await eventually('each is told', 10_000, async () => {
      // The kernel takes its time with a namespace.
      netlink.lose();
      expect(heard).toHaveLength(4);
    });
    const told = heard.map((event) => `${event.kind} ${event.wireId}`);
    expect(told.toSorted()).toEqual(
      [
        `damaged ${wires.unfiltered.id}`,
        `damaged ${wires.deleted.id}`,
        `damaged ${wires.remote.id}`,
        `namespaceGone ${wires.ending.id}`,
      ].toSorted(),
    );
    await driver.remove(
      Object.values(wires).map(({ id }) => id),
      budget,
    );
    expect(await driver.list(budget)).toEqual([]);
    await driver.close();
    await netlink.close();
    await sandbox.close();
  });

  test('are no reason to tell of a link what it was before', async () => {
    const sandbox = createSandbox();
    const node = sandbox.namespace();
    const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
    const { netlink, lose, answer } = slowNetlink(createNetlink({ namespace: node.url }));
    const owner = { installation: 'ours', forwarder: 'slow' };
    const driver = createKernelDataplane({ netlink, clock: systemClock, ...owner });
    const heard: DataplaneEvent['kind'][] = [];
    const hasHeard = (...kinds: DataplaneEvent['kind'][]) =>
      eventually(`heard of ${kinds.join(', ')}`, 10_000, () => expect(heard).toEqual(kinds));
    driver.watch(({ kind }) => heard.push(kind));
    const wire = localWire({ client: client.url, endpoint: endpoint.url }, 1);
    await driver.ensure(wire, budget);
    await sandbox.program(client, [setInterface(false)]);
    await hasHeard('linkDown');
    await lose();
    await sandbox.program(client, [setInterface(true)]);
    await hasHeard('linkDown', 'linkUp');
    answer();
    // Whatever follows from the look is over before this one.
    expect(await driver.list(budget)).toMatchObject([{ id: wire.id, complete: true }]);
    expect(heard).toEqual(['linkDown', 'linkUp']);
    await driver.remove([wire.id], budget);
    await driver.close();
    await netlink.close();
    await sandbox.close();
  });
});
