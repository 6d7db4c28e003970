// Counters of tunnels and pipes, from the memory that VPP shares: what was sent into one whoever is at the other end
// received.

import { asNsmError } from '../../protocols/errors.ts';
import type { Budget, WireCounters, WireStatistics } from '../../protocols/ports/dataplane.ts';
import type { VppStatistics } from '../../protocols/ports/vpp.ts';
import type { StatisticValue } from '../../protocols/vpp/statistics-segment.ts';
import { sumOfThreads } from '../../protocols/vpp/statistics-segment.ts';
import type { FoundPipe, Inventory } from './inventory.ts';

const counters = { received: '/if/rx', sent: '/if/tx', drops: '/if/drops' } as const;

export async function addTunnelCounters(
  { inventory, statistics }: { readonly inventory: Inventory; readonly statistics: VppStatistics },
  asked: {
    readonly ids: readonly string[];
    readonly ofLinks: ReadonlyMap<string, WireStatistics>;
    readonly budget: Budget;
  },
): Promise<ReadonlyMap<string, WireStatistics>> {
  const { ids, ofLinks, budget } = asked;
  await inventory.ready(budget);
  const tunnels = ids.flatMap((id) =>
    inventory.of(id).flatMap(({ tunnel, wireguard, ipsec, pipe, tag, index }) => {
      const isCounted = [tunnel, wireguard, ipsec, pipe].some((each) => each !== undefined);
      return isCounted && tag !== undefined ? [{ id, side: tag.side, index, pipe }] : [];
    }),
  );
  if (tunnels.length === 0) return ofLinks;
  const values = await readCounters(statistics, budget);
  if (values === undefined) return ofLinks;
  const all = new Map(ofLinks);
  for (const { id, side, ...end } of tunnels) {
    all.set(id, { ...all.get(id), [side]: countersOf(values, end) });
  }
  return all;
}

/** Undefined where VPP shares none: what links count is no worse for it. */
async function readCounters(
  statistics: VppStatistics,
  budget: Budget,
): Promise<ReadonlyMap<string, StatisticValue> | undefined> {
  try {
    return await statistics.read(Object.values(counters), budget);
  } catch (error) {
    const { code } = asNsmError(error);
    if (code === 'CANCELLED') throw error;
    return undefined;
  }
}

/** VPP counts what goes into either side of a pipe, and not what comes out. */
function countersOf(
  values: ReadonlyMap<string, StatisticValue>,
  { index, pipe }: { readonly index: number; readonly pipe: FoundPipe | undefined },
): WireCounters {
  const into = sumOfThreads(values.get(counters.sent), index);
  const outOf =
    pipe === undefined
      ? sumOfThreads(values.get(counters.received), index)
      : sumOfThreads(values.get(counters.sent), pipe.far);
  const drops = values.get(counters.drops);
  const dropped =
    drops?.kind === 'simple' ? drops.threads.map((thread) => thread[index] ?? 0n) : [];
  return {
    rxBytes: into?.bytes ?? 0n,
    rxPackets: into?.packets ?? 0n,
    txBytes: outOf?.bytes ?? 0n,
    txPackets: outOf?.packets ?? 0n,
    drops: dropped.reduce((sum, each) => sum + each, 0n),
  };
}
