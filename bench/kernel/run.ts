// How fast real kernel wires are set up and taken down, beside the rate at which bare netlink makes the same
// objects in the same run. Usage: npx tsx bench/kernel/run.ts [wires]; needs root or `unshare -Urnm`.
// Prints a table and exits 1 where a target is missed. Everything happens in namespaces of its own.

import { createKernelDataplane } from '../../dataplane/kernel/kernel.ts';
import type { Wire } from '../../protocols/ports/dataplane.ts';
import type { NetlinkStep } from '../../protocols/ports/netlink.ts';
import { createVeth, deleteLinkByName } from '../../protocols/netlink/link.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { createNetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { localWire } from '../../test/sandbox/wires.ts';
import { recordingNetlink } from '../../test/sandbox/netlink-faults.ts';

const wireCount = Number(process.argv[2] ?? 300);
const budget = { timeoutMs: 60_000 };
const namespaces: NetworkNamespace[] = [];
const namespace = () => {
  const created = createNetworkNamespace();
  namespaces.push(created);
  return created;
};
const node = namespace();
/** Workloads share some namespaces, as several services on one client do. */
const clients = Array.from({ length: 10 }, namespace);
const endpoints = Array.from({ length: 10 }, namespace);
const netlink = createNetlink({ namespace: node.url });
const recorder = recordingNetlink(netlink);
const dataplane = createKernelDataplane({
  netlink: recorder,
  clock: systemClock,
  installation: 'bench',
  forwarder: 'kernel',
});

const wires = (prefix: string): Wire[] =>
  Array.from({ length: wireCount }, (_, number) =>
    localWire(
      {
        client: (clients[number % clients.length] as NetworkNamespace).url,
        endpoint: (endpoints[number % endpoints.length] as NetworkNamespace).url,
      },
      number,
      `${prefix}-${number}`,
    ),
  );

async function timed(action: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await action();
  return performance.now() - startMs;
}

const perSecond = (ms: number) => Math.round((wireCount / ms) * 1000);

async function sequential(): Promise<number[]> {
  const latenciesMs: number[] = [];
  for (const wire of wires('sequential')) {
    latenciesMs.push(await timed(() => dataplane.ensure(wire, budget)));
  }
  return latenciesMs.sort((a, b) => a - b);
}

async function concurrent(): Promise<number> {
  return timed(async () => {
    await Promise.all(wires('concurrent').map((wire) => dataplane.ensure(wire, budget)));
  });
}

async function closeAll(prefix: string): Promise<number> {
  const ids = wires(prefix).map(({ id }) => id);
  return timed(async () => {
    await Promise.all(ids.map((id) => dataplane.remove([id], budget)));
  });
}

/** The programs that the driver ran for its wires, handed to the kernel again with nothing around them. */
async function bareNetlink(programs: readonly (readonly NetlinkStep[])[]): Promise<number> {
  const joined = programs.flat();
  return timed(async () => {
    const outcome = await netlink.execute(joined, budget);
    if (!outcome.ok) throw new Error(`${outcome.failure.what}: ${outcome.failure.found}`);
  });
}

/** The limit that everybody knows: how many veth pairs alone. */
async function bareVeths(): Promise<number> {
  const names = Array.from({ length: wireCount }, (_, number) => `bare${number}`);
  const steps: NetlinkStep[] = names.map((name) => ({
    protocol: 'route',
    requests: [
      {
        what: `create ${name}`,
        message: createVeth({
          name,
          group: 77,
          mtu: 0,
          peer: {
            name,
            namespaceDescriptor: { namespaceDescriptor: (clients[0] as NetworkNamespace).url },
          },
        }),
        undo: [deleteLinkByName(name)],
      },
    ],
  }));
  return bareNetlink([steps]);
}

const rows: [what: string, value: string, target: string, isMet: boolean][] = [];
const row = (what: string, value: string, target = '', isMet = true) =>
  rows.push([what, value, target, isMet]);

await dataplane.probe(budget);
const latenciesMs = await sequential();
const at = (share: number) => latenciesMs[Math.floor((latenciesMs.length - 1) * share)] ?? 0;
row('sequential set-up p50', `${at(0.5).toFixed(2)} ms`, '<= 5 ms', at(0.5) <= 5);
row('sequential set-up p99', `${at(0.99).toFixed(2)} ms`, '<= 20 ms', at(0.99) <= 20);
const refreshMs = await timed(async () => {
  for (const wire of wires('sequential')) await dataplane.ensure(wire, budget);
});
row('sequential refresh, per wire', `${(refreshMs / wireCount).toFixed(2)} ms`);
row('list', `${(await timed(async () => void (await dataplane.list(budget)))).toFixed(1)} ms`);
const closeMs = await closeAll('sequential');
row('bulk close', `${perSecond(closeMs)}/s`, '>= 300/s', perSecond(closeMs) >= 300);
recorder.programs.length = 0;
const concurrentMs = await concurrent();
const programs = [...recorder.programs];
await closeAll('concurrent');
const bareMs = await bareNetlink(programs);
await closeAll('concurrent');
const rate = perSecond(concurrentMs);
row('concurrent set-up', `${rate}/s`, '>= 300/s', rate >= 300);
row('bare netlink, same objects', `${perSecond(bareMs)}/s`);
const share = bareMs / concurrentMs;
row('ours against bare netlink', share.toFixed(2), '>= 0.3', share >= 0.3);
row('bare netlink, veth pairs only', `${perSecond(await bareVeths())}/s`);

console.log(`${wireCount} local wires: 2 veth pairs, cross connect, 4 addresses, 4 routes each`);
for (const [what, value, target, isMet] of rows) {
  console.log(`${what.padEnd(32)}${value.padEnd(14)}${target.padEnd(12)}${isMet ? '' : 'MISSED'}`);
}
// What is still there goes with its namespaces.
await dataplane.close();
await netlink.close();
for (const created of namespaces) created.close();
process.exitCode = rows.every(([, , , isMet]) => isMet) ? 0 : 1;
