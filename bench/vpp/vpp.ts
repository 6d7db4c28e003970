// What VPP costs through vwire: calls of the client beside its own floor, TCP through a wire beside the same by VPP's own
// command line, whole wires, and what a VPP that was killed needs until all of them are back. The first two take turns.
// Everything happens in namespaces of its own, over a VPP of its own; needs root and VWIRE_VPP.

import { createWireEnds } from '../../dataplane/kernel/wire-ends.ts';
import { createVppDataplane } from '../../dataplane/vpp/vpp.ts';
import type { Dataplane } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import type { WireEnds } from '../../protocols/ports/wire-ends.ts';
import { createSandbox, type Sandbox } from '../../test/sandbox/namespaces.ts';
import { startVppNode, type VppNodeSandbox, vppApi, whyNoVppNode } from '../../test/sandbox/vpp.ts';
import { localWire, wireAddresses } from '../../test/sandbox/wires.ts';
import { ping } from '../../transports/icmp/ping.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import { createVppClient } from '../../transports/vpp-api-client/vpp-api-client.ts';
import { createVppStatistics } from '../../transports/vpp-api-client/vpp-statistics.ts';
import { type Figure, judge, median, type Progress, type RunSuite, Skipped } from '../figure.ts';
import { endsThatAreThere, linksByHand, makeLinks } from '../node-links.ts';
import { tcpGigabits, whyNoIperf } from '../throughput/iperf.ts';
import { callFigures } from './calls.ts';

const suite = 'vpp';
const rounds = 5;
const wireCount = 30;
const restartedWires = 100;
const manyWires = 1_000;
const wiresAtOnce = 64;
const pingCount = 200;
const handAddresses = ['172.31.9.1', '172.31.9.2'] as const;
const budget = { timeoutMs: 60_000 };

interface Stage {
  readonly sandbox: Sandbox;
  readonly netlink: Netlink;
  readonly node: VppNodeSandbox;
  readonly client: Vpp;
  /** With these ends; each has its own name. */
  dataplane(forwarder: string, ends?: WireEnds): Dataplane;
}

export const run: RunSuite = async (progress) => {
  const reason = whyNoVppNode() ?? whyNoIperf();
  if (reason !== undefined) throw new Skipped(reason);
  return [
    ...(await onStage((stage) => callFigures({ vpp: stage.client, suite }, progress))),
    ...(await onStage((stage) => throughput(stage, progress))),
    ...(await onStage((stage) => wholeWires(stage, progress))),
    ...(await onStage((stage) => restart(stage, progress))),
    ...(await onStage((stage) => many(stage, progress))),
  ];
};

/** A VPP and a namespace for each part, so that none finds what another has left. */
async function onStage(
  work: (stage: Stage) => Promise<readonly Figure[]>,
): Promise<readonly Figure[]> {
  const sandbox = createSandbox();
  const node = await startVppNode({ sandbox });
  const netlink = createNetlink({ namespace: node.node.url });
  const api = vppApi();
  const connect = (): Vpp => {
    const { apiSocket: socketPath } = node.vpp;
    return createVppClient({ socketPath, host: unixHost, ...(api === undefined ? {} : { api }) });
  };
  const client = connect();
  const closes: (() => Promise<void>)[] = [];
  const dataplane: Stage['dataplane'] = (forwarder, ends) => {
    const vpp = connect();
    const statistics = createVppStatistics({
      socketPath: node.vpp.statisticsSocket,
      clock: systemClock,
    });
    const owner = { installation: 'bench', forwarder };
    const parts = { vpp, statistics, netlink, hasTrunks: true, clock: systemClock };
    const own = ends ?? createWireEnds({ ...owner, ...parts });
    const made = createVppDataplane({ ...owner, ...parts, ends: own });
    closes.push(async () => {
      await made.close();
      await vpp.close();
      statistics.close();
    });
    return made;
  };
  try {
    return await work({ sandbox, netlink, node, client, dataplane });
  } finally {
    for (const close of closes) await close();
    await client.close();
    await netlink.close();
    await node.close();
    await sandbox.close();
  }
}

/** VPP's own commands, as vppctl hands them over. */
async function command(vpp: Vpp, ...lines: readonly string[]): Promise<void> {
  for (const cmd of lines) await vpp.request('cli_inband', { cmd }, budget);
}

/** A host interface over each link, joined at layer 2. */
async function joinByHand(vpp: Vpp, a: string, b: string): Promise<void> {
  await command(
    vpp,
    `create host-interface name ${a}`,
    `create host-interface name ${b}`,
    `set interface state host-${a} up`,
    `set interface state host-${b} up`,
    `set interface l2 xconnect host-${a} host-${b}`,
    `set interface l2 xconnect host-${b} host-${a}`,
  );
}

async function throughput(stage: Stage, progress: Progress): Promise<readonly Figure[]> {
  const { sandbox, netlink, client: vpp } = stage;
  const dataplane = stage.dataplane('throughput');
  const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
  await dataplane.ensure(localWire({ client: client.url, endpoint: endpoint.url }, 1), budget);
  const [left, right] = [sandbox.namespace(), sandbox.namespace()];
  await linksByHand(netlink, [
    { namespace: left, address: handAddresses[0] },
    { namespace: right, address: handAddresses[1] },
  ]);
  await joinByHand(vpp, 'hand0', 'hand1');
  const ways = {
    hand: { from: left, to: right, ip: handAddresses[1] },
    wire: { from: client, to: endpoint, ip: wireAddresses(1).endpoint },
  };
  const gigabits = { hand: [] as number[], wire: [] as number[] };
  const roundTrips = { hand: [] as number[], wire: [] as number[] };
  for (let round = 1; round <= rounds; round += 1) {
    progress(`iperf3 over a wire and by hand, round ${round} of ${rounds}`);
    for (const way of ['hand', 'wire'] as const) {
      const { from, to, ip } = ways[way];
      gigabits[way].push(await tcpGigabits(sandbox, from, to, ip));
      const pinging = { namespace: from.url, destination: ip, intervalMs: 2, timeoutMs: 2_000 };
      const { rttsMs } = await ping({ ...pinging, count: pingCount });
      roundTrips[way].push(median(rttsMs));
    }
  }
  return [
    judge(
      {
        suite,
        name: 'iperf3 over a local wire',
        value: median(gigabits.wire),
        unit: 'Gbit/s',
        limitName: "the same by VPP's own commands",
        limitValue: median(gigabits.hand),
      },
      { of: 'ratio', atLeast: 0.95 },
    ),
    judge({
      suite,
      name: 'ping over a local wire',
      value: median(roundTrips.wire),
      unit: 'ms',
      limitName: "the same by VPP's own commands",
      limitValue: median(roundTrips.hand),
    }),
  ];
}

/** VPP's part and the kernel's between the links: the links are there already, on both sides alike. */
async function wholeWires(stage: Stage, progress: Progress): Promise<readonly Figure[]> {
  const pairs = await makeLinks(stage, wireCount * 2);
  const dataplane = stage.dataplane('whole', endsThatAreThere(pairs));
  const wires = wiresOf(wireCount);
  const [first, ...rest] = wires;
  // The trunk is made with the first.
  if (first !== undefined) await dataplane.ensure(first, budget);
  const native: number[] = [];
  const byHand: number[] = [];
  for (const [number, wire] of rest.entries()) {
    progress(`a wire natively and by commands, ${number + 1} of ${rest.length}`);
    native.push(await timed(() => dataplane.ensure(wire, budget)));
    const [a, b] = pairs[wireCount + number] ?? [];
    byHand.push(await timed(() => joinByHand(stage.client, a?.name ?? '', b?.name ?? '')));
  }
  return [
    judge({
      suite,
      name: 'a local wire, between links that are there',
      value: 1_000 / median(native),
      unit: 'per s',
      limitName: "host interfaces and cross connects by VPP's own commands",
      limitValue: 1_000 / median(byHand),
    }),
  ];
}

/** From the start of a VPP that was killed until every wire is whole. */
async function restart(stage: Stage, progress: Progress): Promise<readonly Figure[]> {
  const { node } = stage;
  const pairs = await makeLinks(stage, restartedWires);
  const dataplane = stage.dataplane('again', endsThatAreThere(pairs));
  progress(`${restartedWires} wires, and VPP killed under them`);
  const wires = wiresOf(restartedWires);
  await ensureAll(dataplane, wires);
  await node.vpp.signal('SIGKILL');
  const startMs = performance.now();
  await node.vpp.start();
  const runsMs = performance.now() - startMs;
  for (const { id } of wires) {
    while ((await dataplane.inspect(id, budget)).length > 0) await nextTurn();
  }
  const value = performance.now() - startMs;
  const note = `of which VPP needed ${runsMs.toFixed(0)} ms to start`;
  const measured = { suite, name: `${restartedWires} wires back after a killed VPP`, value, note };
  return [judge({ ...measured, unit: 'ms' }, { of: 'value', atMost: 2_000 })];
}

async function many(stage: Stage, progress: Progress): Promise<readonly Figure[]> {
  const pairs = await makeLinks(stage, manyWires);
  const dataplane = stage.dataplane('many', endsThatAreThere(pairs));
  const wires = wiresOf(manyWires);
  progress(`${manyWires} wires made, found and removed`);
  const made = await timed(() => ensureAll(dataplane, wires));
  const found = await timed(() => dataplane.list(budget));
  const ids = wires.map(({ id }) => id);
  const removed = await timed(() => dataplane.remove(ids, budget));
  const figure = (name: string, value: number): Figure =>
    judge({ suite, name: `${manyWires} local wires ${name}`, value, unit: 'ms' });
  return [figure('made', made), figure('listed', found), figure('removed', removed)];
}

const wiresOf = (count: number) =>
  Array.from({ length: count }, (_, number) =>
    localWire({ client: '', endpoint: '' }, number, String(number)),
  );

async function ensureAll(dataplane: Dataplane, wires: ReturnType<typeof wiresOf>): Promise<void> {
  const waiting = [...wires];
  const worker = async (): Promise<void> => {
    for (let wire = waiting.shift(); wire !== undefined; wire = waiting.shift()) {
      await dataplane.ensure(wire, budget);
    }
  };
  await Promise.all(Array.from({ length: wiresAtOnce }, worker));
}

const nextTurn = () => new Promise((resolve) => setTimeout(resolve, 1));

async function timed(action: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await action();
  return performance.now() - startMs;
}
