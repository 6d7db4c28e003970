// Counters of wires as the workloads see them: what the node-side link sent is what the workload received.

import { errno } from '../../protocols/netlink/errno.ts';
import { getLink, parseLink } from '../../protocols/netlink/link.ts';
import type { Budget, WireCounters, WireStatistics } from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkAnswer } from '../../protocols/ports/netlink.ts';
import { run } from './run.ts';
import type { EndState } from './wire-state.ts';

export async function readStatistics(
  netlink: Netlink,
  wires: ReadonlyMap<string, readonly EndState[]>,
  budget: Budget,
): Promise<ReadonlyMap<string, WireStatistics>> {
  const ends = [...wires].flatMap(([id, states]) => states.map((state) => ({ id, state })));
  if (ends.length === 0) return new Map();
  const requests = ends.map(({ state }) => ({
    message: getLink(state.index, true),
    what: `read the counters of ${state.name}`,
    tolerate: [errno.noDevice],
  }));
  const answers = await run(netlink, [{ protocol: 'route', requests }], budget);
  const statistics = new Map<string, WireStatistics>();
  for (const [position, { id, state }] of ends.entries()) {
    const counters = countersIn(answers[0]?.[position], state.name);
    if (counters === undefined) continue;
    statistics.set(id, { ...statistics.get(id), [state.side]: counters });
  }
  return statistics;
}

/** Undefined where the link is gone, or its index has meanwhile become another link's. */
function countersIn(answer: NetlinkAnswer | undefined, name: string): WireCounters | undefined {
  const message = answer?.messages[0];
  const link = message === undefined ? undefined : parseLink(message);
  if (link?.counters === undefined || link.name !== name) return undefined;
  const { counters } = link;
  return {
    rxBytes: counters.txBytes,
    txBytes: counters.rxBytes,
    rxPackets: counters.txPackets,
    txPackets: counters.rxPackets,
    drops: counters.rxDropped + counters.txDropped,
  };
}
