// Counters of ends without a link, from the flows: a tunnel is shared, so its port cannot say how much is whose. What was sent
// into it the workload at the other end received.

import type { Budget, WireCounters, WireStatistics } from '../../protocols/ports/dataplane.ts';
import type { FlowStatistics } from '../../protocols/ovs/flow.ts';
import type { WireRows } from './switch-rows.ts';
import type { Side } from './tags.ts';
import { sides, wireCookie } from './tags.ts';
import { placeOf } from './wire-flows.ts';
import { flowsFromRows } from './wire-judgement.ts';
import type { Joinery } from './wire-parts.ts';

export async function addTunnelCounters(
  { rows, owner, switch: bridge }: Joinery,
  asked: {
    readonly ids: readonly string[];
    readonly ofLinks: ReadonlyMap<string, WireStatistics>;
    readonly budget: Budget;
  },
): Promise<ReadonlyMap<string, WireStatistics>> {
  const { ids, ofLinks, budget } = asked;
  await rows.ready(budget);
  const remote = ids.filter((id) => sides.some((side) => isWithoutLink(rows.of(id), side)));
  const [only] = remote;
  if (only === undefined) return ofLinks;
  const flows =
    remote.length === 1
      ? await bridge.flowsOf(wireCookie(owner, only), budget)
      : await bridge.flows(budget);
  const byPlace = new Map(flows.map((flow) => [placeOf(flow), flow]));
  const statistics = new Map(ofLinks);
  for (const id of remote) {
    const own = rows.of(id);
    const wanted = flowsFromRows(owner, id, own);
    if (wanted === undefined) continue;
    const from = (side: Side) => byPlace.get(placeOf(wanted[side]));
    for (const side of sides) {
      if (!isWithoutLink(own, side)) continue;
      const into = from(side === 'client' ? 'endpoint' : 'client');
      statistics.set(id, { ...statistics.get(id), [side]: countersOf(into, from(side)) });
    }
  }
  return statistics;
}

const isWithoutLink = ({ ports, tunnels }: WireRows, side: Side): boolean =>
  tunnels.some(({ use }) => use.side === side) ||
  ports.some(({ end }) => end?.side === side && end.link === 0);

function countersOf(
  into: FlowStatistics | undefined,
  outOf: FlowStatistics | undefined,
): WireCounters {
  return {
    rxBytes: into?.bytes ?? 0n,
    rxPackets: into?.packets ?? 0n,
    txBytes: outOf?.bytes ?? 0n,
    txPackets: outOf?.packets ?? 0n,
    drops: 0n,
  };
}
