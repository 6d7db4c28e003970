// What a wire over Open vSwitch costs, beside the same made with the switch's own tools in the same run, in turns: both
// ports and all flows of a wire until the switch has applied them, and TCP through a wire by iperf3.
// Everything happens in namespaces of its own, over a switch with the datapath in user space; needs root.

import { dirname } from 'node:path';
import { createWireEnds } from '../../dataplane/kernel/wire-ends.ts';
import { createOvsDataplane } from '../../dataplane/ovs/ovs.ts';
import { insert } from '../../protocols/ovs/ovsdb-operations.ts';
import type { Dataplane } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { NodeLink, WireEnds } from '../../protocols/ports/wire-ends.ts';
import { createSandbox, type Sandbox } from '../../test/sandbox/namespaces.ts';
import { type OvsSandbox, startOvs, whyNoOvs } from '../../test/sandbox/ovs.ts';
import { localWire, wireAddresses } from '../../test/sandbox/wires.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { createOpenFlowClient } from '../../transports/openflow/openflow-client.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import { type Figure, judge, median, type Progress, type RunSuite, Skipped } from '../figure.ts';
import { endsThatAreThere, linksByHand, makeLinks } from '../node-links.ts';
import { tcpGigabits, whyNoIperf } from '../throughput/iperf.ts';
import { openBarePorts } from './bare-ports.ts';
import { thousandWires } from './thousand-wires.ts';
import { type VendorTools, vendorTools, whyNoVendorTools } from './vendor-tools.ts';

const wireCount = 30;
const restartedWires = 100;
const rounds = 5;
const budget = { timeoutMs: 20_000 };
const suite = 'ovs';
const handBridge = 'br-hand';
/** Above all others. */
const handNumber = 1_000;
const handSettings = ['datapath_type=netdev', 'fail_mode=secure'] as const;
const handAddresses = ['172.31.9.1', '172.31.9.2'] as const;

interface Stage {
  readonly sandbox: Sandbox;
  readonly ovs: OvsSandbox;
  readonly netlink: Netlink;
  readonly tools: VendorTools;
  /** With these ends, and a bridge of its own. */
  dataplane(bridge: string, ends: WireEnds): Dataplane;
  /** Ports of the bridge of those who work by hand, and nothing else. */
  addBarePorts(names: readonly string[]): Promise<void>;
}

export const run: RunSuite = async (progress) => {
  const reason = whyNoOvs() ?? whyNoVendorTools() ?? whyNoIperf();
  if (reason !== undefined) throw new Skipped(reason);
  const sandbox = createSandbox();
  const ovs = await startOvs({ withSwitch: true, sandbox, node: sandbox.namespace() });
  const netlink = createNetlink({ namespace: ovs.node.url });
  const tools = vendorTools(dirname(ovs.databaseSocket));
  const closes: (() => Promise<void>)[] = [];
  const dataplane: Stage['dataplane'] = (bridge, ends) => {
    const database = createOvsdbClient({ socketPath: ovs.databaseSocket, host: unixHost });
    const openFlow = createOpenFlowClient({ socketPath: ovs.bridgeSocket(bridge), host: unixHost });
    const owner = { installation: 'bench', forwarder: bridge };
    const parts = { ends, database, openFlow, bridge, clock: systemClock };
    const made = createOvsDataplane({ ...owner, ...parts, datapathType: 'netdev' });
    closes.push(
      () => made.close(),
      () => openFlow.close(),
      () => database.close(),
    );
    return made;
  };
  try {
    await initialise(ovs.databaseSocket);
    tools.vsctl('add-br', handBridge, '--', 'set', 'bridge', handBridge, ...handSettings);
    const bare = openBarePorts(ovs.databaseSocket, handBridge);
    closes.push(() => bare.close());
    const addBarePorts: Stage['addBarePorts'] = (names) => bare.add(names);
    const stage: Stage = { sandbox, ovs, netlink, tools, dataplane, addBarePorts };
    return [
      ...(await wholeWires(stage, progress)),
      await throughput(stage, progress),
      await restart(stage, progress),
      ...(await thousandWires(sandbox, () => wholeDriver(stage, 'br-many'), progress)),
    ];
  } finally {
    for (const close of closes) await close();
    await netlink.close();
    await ovs.close();
    await sandbox.close();
  }
};

async function initialise(socketPath: string): Promise<void> {
  const database = createOvsdbClient({ socketPath, host: unixHost });
  await database.transact([insert('Open_vSwitch', {})], budget);
  await database.close();
}

/** The part that is the switch's: the links are there already, on both sides alike. */
async function wholeWires(stage: Stage, progress: Progress): Promise<readonly Figure[]> {
  const { tools } = stage;
  const pairs = await makeLinks(stage, wireCount * (3 + 2 * rounds));
  const dataplane = stage.dataplane('br-native', endsThatAreThere(pairs));
  await dataplane.probe(budget);
  let used = 0;
  const next = (count: number): number[] => Array.from({ length: count }, () => used++);
  const make = (number: number) =>
    dataplane.ensure(localWire({ client: '', endpoint: '' }, number, String(number)), budget);
  const byHand = (numbers: readonly number[]): HandWire[] =>
    numbers.map((number) => ({ number, pair: pairs[number] ?? [] }));
  const alone: { native: number[]; forked: number[]; bare: number[] } = {
    native: [],
    forked: [],
    bare: [],
  };
  for (let number = 1; number <= wireCount; number += 1) {
    progress(`a wire alone, natively and by forks, ${number} of ${wireCount}`);
    const [mine = 0, theirs = 0, bare = 0] = next(3);
    alone.native.push(await timed(() => make(mine)));
    alone.forked.push(await timed(async () => joinByHand(tools, byHand([theirs]))));
    const names = (pairs[bare] ?? []).map(({ name }) => name);
    alone.bare.push(await timed(() => stage.addBarePorts(names)));
  }
  const atOnce: { native: number[]; forked: number[] } = { native: [], forked: [] };
  for (let round = 1; round <= rounds; round += 1) {
    progress(`${wireCount} wires at once, natively and by forks, round ${round} of ${rounds}`);
    const [mine, theirs] = [next(wireCount), next(wireCount)];
    atOnce.native.push(await timed(() => Promise.all(mine.map(make))));
    atOnce.forked.push(await timed(async () => joinByHand(tools, byHand(theirs))));
  }
  const name = `ports and flows of ${wireCount} wires at once, until applied`;
  const value = (wireCount * 1_000) / median(atOnce.native);
  const together = { suite, name, value, unit: 'per s' };
  const single = {
    suite,
    name: 'ports and flows of a wire alone, until applied',
    value: 1_000 / median(alone.native),
    unit: 'per s',
  };
  const forks = 'an ovs-vsctl and an ovs-ofctl for each wire';
  return [
    judge(
      { ...single, limitName: forks, limitValue: 1_000 / median(alone.forked) },
      { of: 'ratio', atLeast: 10 },
    ),
    judge({
      ...single,
      limitName: 'its two ports in one transaction, and nothing else',
      limitValue: 1_000 / median(alone.bare),
    }),
    judge(
      { ...together, limitName: forks, limitValue: 1_000 / median(alone.forked) },
      { of: 'ratio', atLeast: 10 },
    ),
    judge({
      ...together,
      limitName: 'one ovs-vsctl and one ovs-ofctl for all of them',
      limitValue: (wireCount * 1_000) / median(atOnce.forked),
    }),
  ];
}

interface HandWire {
  readonly number: number;
  readonly pair: readonly NodeLink[];
}

/** One process for all ports, one for all flows. */
function joinByHand(tools: VendorTools, wires: readonly HandWire[]): void {
  const port = ({ name }: NodeLink, request: number): string[] => {
    const setting = `ofport_request=${request}`;
    return ['--', 'add-port', handBridge, name, '--', 'set', 'interface', name, setting];
  };
  const numbersOf = ({ number }: HandWire) => [number * 2 + 1, number * 2 + 2] as const;
  tools.vsctl(
    ...wires.flatMap((wire) =>
      wire.pair.flatMap((link, end) => port(link, numbersOf(wire)[end] ?? 0)),
    ),
  );
  const flows = wires
    .map(numbersOf)
    .flatMap(([first, second]) => [
      `priority=100,in_port=${first},actions=output:${second}`,
      `priority=100,in_port=${second},actions=output:${first}`,
    ]);
  tools.ofctl(['--bundle', 'add-flows', handBridge, '-'], `${flows.join('\n')}\n`);
}

/** With ends in the kernel. */
function wholeDriver(stage: Stage, bridge: string): Dataplane {
  const owner = { installation: 'bench', forwarder: bridge };
  const ends = createWireEnds({ netlink: stage.netlink, clock: systemClock, ...owner });
  return stage.dataplane(bridge, ends);
}

async function throughput(stage: Stage, progress: Progress): Promise<Figure> {
  const { sandbox } = stage;
  const dataplane = wholeDriver(stage, 'br-wire');
  const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
  await dataplane.ensure(localWire({ client: client.url, endpoint: endpoint.url }, 1), budget);
  const [left, right] = [sandbox.namespace(), sandbox.namespace()];
  await wireByHand(stage, left, right);
  const wire: number[] = [];
  const limit: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`iperf3 over a wire and by hand, round ${round} of ${rounds}`);
    limit.push(await tcpGigabits(sandbox, left, right, handAddresses[1]));
    wire.push(await tcpGigabits(sandbox, client, endpoint, wireAddresses(1).endpoint));
  }
  return judge(
    {
      suite,
      name: 'iperf3 over a local wire',
      value: median(wire),
      unit: 'Gbit/s',
      limitName: 'the same by ovs-vsctl and ovs-ofctl',
      limitValue: median(limit),
    },
    { of: 'ratio', atLeast: 0.95 },
  );
}

/** From the start of a switch that was killed until every wire is whole. */
async function restart(stage: Stage, progress: Progress): Promise<Figure> {
  const { ovs } = stage;
  const pairs = await makeLinks(stage, restartedWires, 'again');
  const dataplane = stage.dataplane('br-again', endsThatAreThere(pairs));
  progress(`${restartedWires} wires, and the switch killed under them`);
  const wires = pairs.map((_, number) =>
    localWire({ client: '', endpoint: '' }, number, String(number)),
  );
  await Promise.all(wires.map((wire) => dataplane.ensure(wire, budget)));
  await ovs.signal('switch', 'SIGKILL');
  const value = await timed(async () => {
    await ovs.startSwitch();
    for (const { id } of wires) {
      while ((await dataplane.inspect(id, budget)).length > 0) await nextTurn();
    }
  });
  const measured = { suite, name: `${restartedWires} wires back after a killed switch`, value };
  return judge({ ...measured, unit: 'ms' }, { of: 'value', atMost: 2_000 });
}

const nextTurn = () => new Promise((resolve) => setTimeout(resolve, 1));

/** Without checksums of the kernel's no stream would pass the switch. */
async function wireByHand(
  { netlink, tools }: Stage,
  left: NetworkNamespace,
  right: NetworkNamespace,
): Promise<void> {
  const pair = await linksByHand(netlink, [
    { namespace: left, address: handAddresses[0] },
    { namespace: right, address: handAddresses[1] },
  ]);
  joinByHand(tools, [{ number: handNumber, pair }]);
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await action();
  return performance.now() - startMs;
}
