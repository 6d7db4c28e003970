// How fast real kernel wires are set up and taken down, beside the rate at which bare netlink makes the same
// objects in the same run. A wire is two veth pairs, their cross connect, four addresses and four routes.
// Everything happens in namespaces of its own; needs root or `unshare -Urnm`.

import { createKernelDataplane } from '../../dataplane/kernel/kernel.ts';
import { createVeth, deleteLinkByName } from '../../protocols/netlink/link.ts';
import type { Dataplane, Wire } from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkStep } from '../../protocols/ports/netlink.ts';
import { whyNoNamespaces } from '../../test/sandbox/namespaces.ts';
import { recordingNetlink } from '../../test/sandbox/netlink-faults.ts';
import { localWire } from '../../test/sandbox/wires.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import {
  createNetworkNamespace,
  type NetworkNamespace,
} from '../../transports/netlink/network-namespace.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import {
  type Figure,
  judge,
  type Measured,
  percentile,
  type RunSuite,
  Skipped,
} from '../figure.ts';

const wireCount = 300;
const budget = { timeoutMs: 60_000 };
/** Workloads share some namespaces, as several services on one client do. */
const workloads = 10;
const suite = 'kernel';

interface Places {
  readonly clients: readonly NetworkNamespace[];
  readonly endpoints: readonly NetworkNamespace[];
}

export const run: RunSuite = async (progress) => {
  const reason = whyNoNamespaces();
  if (reason !== undefined) throw new Skipped(reason);
  const node = createNetworkNamespace();
  const namespaces = () => Array.from({ length: workloads }, () => createNetworkNamespace());
  const places: Places = { clients: namespaces(), endpoints: namespaces() };
  const netlink = createNetlink({ namespace: node.url });
  const recorder = recordingNetlink(netlink);
  const dataplane = createKernelDataplane({
    netlink: recorder,
    clock: systemClock,
    installation: 'bench',
    forwarder: 'kernel',
  });
  try {
    await dataplane.probe(budget);
    // As a forwarder does: hearing of everything that happens on the node is part of the price.
    dataplane.watch(() => {});
    progress(`${wireCount} wires, one after the other`);
    const alone = await sequential(dataplane, wiresOf(places, 'sequential'));
    progress(`${wireCount} wires at once`);
    const wires = wiresOf(places, 'concurrent');
    recorder.programs.length = 0;
    const ms = await timed(() => Promise.all(wires.map((wire) => dataplane.ensure(wire, budget))));
    const programs = [...recorder.programs];
    const closeMs = await timed(() => closeAll(dataplane, wires));
    // The programs that the driver ran, handed to the kernel again with nothing around them.
    const bareMs = await bareNetlink(netlink, programs.flat());
    await closeAll(dataplane, wires);
    const vethMs = await bareNetlink(netlink, vethSteps(places));
    return [...alone, ...atOnce({ ms, closeMs, bareMs, vethMs })];
  } finally {
    // What bare netlink made has no record in the driver, so it goes with its namespaces.
    await dataplane.close();
    await netlink.close();
    for (const each of [node, ...places.clients, ...places.endpoints]) each.close();
  }
};

function wiresOf({ clients, endpoints }: Places, prefix: string): readonly Wire[] {
  return Array.from({ length: wireCount }, (_, number) => {
    const client = clients[number % clients.length]?.url ?? '';
    const endpoint = endpoints[number % endpoints.length]?.url ?? '';
    return localWire({ client, endpoint }, number, `${prefix}-${number}`);
  });
}

async function sequential(
  dataplane: Dataplane,
  wires: readonly Wire[],
): Promise<readonly Figure[]> {
  const times: number[] = [];
  for (const wire of wires) times.push(await timed(() => dataplane.ensure(wire, budget)));
  const refreshes: number[] = [];
  for (const wire of wires) refreshes.push(await timed(() => dataplane.ensure(wire, budget)));
  const listMs = await timed(() => dataplane.list(budget));
  await closeAll(dataplane, wires);
  const ms = (name: string, value: number): Measured => ({ suite, name, value, unit: 'ms' });
  return [
    judge(ms('set-up, p50', percentile(times, 0.5)), { of: 'value', atMost: 5 }),
    judge(ms('set-up, p99', percentile(times, 0.99)), { of: 'value', atMost: 20 }),
    judge(ms('refresh, p50', percentile(refreshes, 0.5))),
    judge(ms(`list of ${wireCount} wires`, listMs)),
  ];
}

function atOnce(
  took: Readonly<Record<'ms' | 'closeMs' | 'bareMs' | 'vethMs', number>>,
): readonly Figure[] {
  const perSecond = (ms: number): number => (wireCount * 1_000) / ms;
  const rate = (name: string, ms: number): Measured => ({
    suite,
    name,
    value: perSecond(ms),
    unit: 'per s',
  });
  const bare = { limitName: 'bare netlink, same objects', limitValue: perSecond(took.bareMs) };
  const veths = { limitName: 'bare netlink, one veth each', limitValue: perSecond(took.vethMs) };
  const setUp = rate('wires set up', took.ms);
  return [
    judge(setUp, { of: 'value', atLeast: 300 }),
    judge({ ...setUp, ...bare }, { of: 'ratio', atLeast: 0.3 }),
    judge({ ...setUp, ...veths }),
    judge(rate('wires closed in bulk', took.closeMs), { of: 'value', atLeast: 300 }),
  ];
}

async function closeAll(dataplane: Dataplane, wires: readonly Wire[]): Promise<void> {
  await Promise.all(wires.map(({ id }) => dataplane.remove([id], budget)));
}

async function bareNetlink(netlink: Netlink, steps: readonly NetlinkStep[]): Promise<number> {
  return timed(async () => {
    const outcome = await netlink.execute(steps, budget);
    if (!outcome.ok) throw new Error(`${outcome.failure.what}: ${outcome.failure.found}`);
  });
}

/** The limit that everybody knows: a veth pair each, and nothing else. */
function vethSteps({ clients }: Places): readonly NetlinkStep[] {
  const namespaceDescriptor = clients[0]?.url ?? '';
  return Array.from({ length: wireCount }, (_, number) => {
    const name = `bare${number}`;
    const peer = { name, namespaceDescriptor: { namespaceDescriptor } };
    return {
      protocol: 'route',
      requests: [
        {
          what: `create ${name}`,
          message: createVeth({ name, group: 77, mtu: 0, peer }),
          undo: [deleteLinkByName(name)],
        },
      ],
    };
  });
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await action();
  return performance.now() - startMs;
}
