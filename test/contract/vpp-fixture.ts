// One node with a running VPP, or one in memory, for the data plane's contract suites: faults strike across netlink and
// VPP's API, and harm is done with a client of its own.

import { createWireEnds } from '../../dataplane/kernel/wire-ends.ts';
import { parseEndTag } from '../../dataplane/vpp/tags.ts';
import { linkOfTags } from '../../dataplane/vpp/trunk-programs.ts';
import { createVppDataplane } from '../../dataplane/vpp/vpp.ts';
import type { Vpp, VppStatistics } from '../../protocols/ports/vpp.ts';
import { allOnes } from '../../protocols/vpp/messages/enums.ts';
import type { DetailsFields } from '../../protocols/vpp/messages/known-messages.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import { createVppClient } from '../../transports/vpp-api-client/vpp-api-client.ts';
import { createVppStatistics } from '../../transports/vpp-api-client/vpp-statistics.ts';
import { createFakeVpp, noStatistics } from '../sandbox/fake-vpp.ts';
import { harmWire } from '../sandbox/harm-wire.ts';
import { createInFlightClock } from '../sandbox/in-flight-clock.ts';
import { createSandbox, type Sandbox } from '../sandbox/namespaces.ts';
import { faultyNetlink } from '../sandbox/netlink-faults.ts';
import { createPlannedFaults, faultyVpp } from '../sandbox/planned-faults.ts';
import { startVppNode, vppApi } from '../sandbox/vpp.ts';
import type { Harm } from './dataplane-fixture.ts';
import type { CarryingFixture } from './dataplane-in-flight.ts';
import { nodeFixture } from './node-fixture.ts';

const budget = { timeoutMs: 10_000 };
const owner = { installation: 'ours', forwarder: 'first' };
const foreignTag = 'vwire/1 theirs c01 =theirs';

type Interface = DetailsFields<'sw_interface_dump'>;

/** What a process has of VPP. */
interface Clients {
  readonly vpp: Vpp;
  readonly statistics: VppStatistics;
  close(): Promise<void>;
}

interface Stage {
  readonly node: NetworkNamespace;
  readonly sandbox: Sandbox;
  connect(): Clients;
  close(): Promise<void>;
}

export async function vppFixture(): Promise<CarryingFixture> {
  const started = await startVppNode();
  const { apiSocket: socketPath, statisticsSocket } = started.vpp;
  const api = vppApi();
  return fixtureOn({
    ...started,
    connect() {
      const vpp = createVppClient({
        socketPath,
        host: unixHost,
        ...(api === undefined ? {} : { api }),
      });
      const statistics = createVppStatistics({ socketPath: statisticsSocket, clock: systemClock });
      return {
        vpp,
        statistics,
        async close() {
          await vpp.close();
          statistics.close();
        },
      };
    },
  });
}

/** The kernel's part is real, and no packet goes through what joins it. */
export async function fakeVppFixture(): Promise<CarryingFixture> {
  const sandbox = createSandbox();
  const vpp = createFakeVpp();
  return fixtureOn({
    node: sandbox.namespace(),
    sandbox,
    connect: () => ({ vpp, statistics: noStatistics, close: async () => {} }),
    close: () => sandbox.close(),
  });
}

function fixtureOn(stage: Stage): CarryingFixture {
  const { node, sandbox } = stage;
  const real = createNetlink({ namespace: node.url });
  const person = stage.connect();
  const { vpp } = person;
  const faults = createPlannedFaults();
  const clock = createInFlightClock();
  const common = nodeFixture(sandbox, real);
  const closes: (() => Promise<void>)[] = [];

  const interfaces = (): Promise<readonly Interface[]> =>
    vpp.dump('sw_interface_dump', { sw_if_index: allOnes }, budget);

  return {
    ...common,
    clock,
    async addForeign(place) {
      await common.addForeign(place);
      const { sw_if_index } = await vpp.request('create_loopback', {}, budget);
      const tag = { is_add: true, sw_if_index, tag: foreignTag };
      await vpp.request('sw_interface_tag_add_del', tag, budget);
    },
    async foreignCount() {
      const found = await interfaces();
      return (await common.foreignCount()) + found.filter(({ tag }) => tag === foreignTag).length;
    },
    driver({
      installation = owner.installation,
      forwarder = owner.forwarder,
      tagVersion = 1,
    } = {}) {
      const own = { installation, forwarder, tagVersion };
      const netlink = faultyNetlink(real, faults);
      const clients = stage.connect();
      const dataplane = createVppDataplane({
        ...own,
        clock,
        netlink,
        hasTrunks: true,
        ends: createWireEnds({ netlink, clock, ...own }),
        vpp: faultyVpp(clients.vpp, faults),
        statistics: clients.statistics,
      });
      closes.unshift(async () => {
        await dataplane.close();
        await clients.close();
      });
      return dataplane;
    },
    async objectCount() {
      const links = await common.wireLinks();
      const found = await interfaces();
      const ofWires = found.flatMap(({ interface_name: name, ...details }) => {
        if (details.sup_sw_if_index !== details.sw_if_index) return [nameOfBranch(links, details)];
        return /^(host-vw|vxlan_tunnel)/.test(name) ? [name.replace(/^host-/, '')] : [];
      });
      return new Set([...links.map(({ name }) => name), ...ofWires]).size;
    },
    failAt: (position) => faults.failAt(position),
    crashAt: (position) => faults.crashAt(position),
    hasStruck: () => faults.hasStruck,
    heal: () => faults.heal(),
    async harm(harm, wire, side) {
      if (await harmVpp(vpp, harm, { wireId: wire.id, side, found: await interfaces() })) return;
      await harmWire({ netlink: real, node: node.url }, harm, { wire, side });
    },
    tunnelIp: '192.0.2.1',
    remoteTunnelIp: '192.0.2.2',
    async close() {
      for (const close of closes) await close();
      await person.close();
      await real.close();
      await stage.close();
    },
  };
}

/** An end is one object, however many parts it has: the name of its link, where that is there. */
function nameOfBranch(
  links: readonly { readonly index: number; readonly name: string }[],
  details: Pick<Interface, 'sub_id' | 'sub_outer_vlan_id' | 'sub_inner_vlan_id'>,
): string {
  const { sub_id: subId, sub_outer_vlan_id: outer, sub_inner_vlan_id: inner } = details;
  const link = linkOfTags({ outer, inner });
  return links.find(({ index }) => index === link)?.name ?? `branch ${subId}`;
}

/** What a person with vppctl can do to a wire; false for what is done to its links. */
async function harmVpp(
  vpp: Vpp,
  harm: Harm,
  at: { readonly wireId: string; readonly side: string; readonly found: readonly Interface[] },
): Promise<boolean> {
  const target = at.found.find(({ tag }) => {
    const end = parseEndTag(owner, tag);
    return end?.wireId === at.wireId && end.side === at.side;
  });
  const index = target?.sw_if_index ?? allOnes;
  if (harm === 'unjoined') {
    const fields = { rx_sw_if_index: index, tx_sw_if_index: 0, enable: false };
    await vpp.request('sw_interface_set_l2_xconnect', fields, budget);
  } else if (harm === 'remoteless') {
    const [tunnel] = await vpp.dump('vxlan_tunnel_v2_dump', { sw_if_index: index }, budget);
    if (tunnel === undefined) throw new Error(`${at.wireId} has no tunnel`);
    const { sw_if_index: _, ...fields } = tunnel;
    await vpp.request('vxlan_add_del_tunnel_v3', { ...fields, is_add: false }, budget);
  } else if (harm === 'unfiltered') {
    await vpp.request('sw_interface_set_flags', { sw_if_index: index, flags: 0 }, budget);
  } else return false;
  return true;
}
