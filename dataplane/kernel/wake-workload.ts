// What a workload's kernel has given up asking for while its link, or the tunnel behind it, carried nothing, it asks for
// again at once: left alone it would ask once a second, and the wire lie still for so long.

import {
  deleteNeighbor,
  dumpNeighbors,
  type FoundNeighbor,
  parseNeighbor,
  resolveNeighbor,
} from '../../protocols/netlink/address.ts';
import { neighborState } from '../../protocols/netlink/constants.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { parseIp } from '../../protocols/netlink/ip-address.ts';
import { getLinkByName, parseLink } from '../../protocols/netlink/link.ts';
import type { Budget, KernelEnd, Wire } from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkRequest } from '../../protocols/ports/netlink.ts';
import { run } from './run.ts';
import { type CurrentWire, sides } from './wire-state.ts';

const unresolved = neighborState.incomplete | neighborState.failed;

/** While a link was down its workload has lost its neighbours, and asked for them in vain. */
export async function wakeRisen(
  netlink: Netlink,
  wire: Wire,
  before: CurrentWire,
  budget: Budget,
): Promise<void> {
  const risen = sides.filter((side) => before[side]?.isSettled === false);
  for (const end of risen.map((side) => wire[side])) {
    // Left asleep it asks by itself within a second.
    if (end.kind === 'kernel') await wakeWorkload(netlink, end, budget).catch(() => {});
  }
}

export async function wakeWorkload(
  netlink: Netlink,
  { netns: namespace, interfaceName }: KernelEnd,
  budget: Budget,
): Promise<void> {
  const look = [
    { message: getLinkByName(interfaceName), what: `find ${interfaceName}` },
    { message: dumpNeighbors(), what: 'list the neighbours of a workload' },
  ];
  const program = [{ namespace, protocol: 'route', requests: look } as const];
  const [[link, neighbors] = []] = await run(netlink, program, budget);
  const index = link?.messages.flatMap((message) => parseLink(message) ?? [])[0]?.index;
  const requests = (neighbors?.messages ?? [])
    .flatMap((message) => parseNeighbor(message) ?? [])
    .filter((each) => each.index === index && (each.state & unresolved) !== 0)
    .flatMap(askAnew);
  if (requests.length === 0) return;
  await run(netlink, [{ namespace, protocol: 'route', requests }], budget);
}

/** An entry that waits for its next question is given up for one that asks at once. */
export function askAnew({ index, ip }: Pick<FoundNeighbor, 'index' | 'ip'>): NetlinkRequest[] {
  const address = parseIp(ip);
  return [
    {
      message: deleteNeighbor(index, address),
      what: `give up neighbour ${ip}, which does not answer`,
      tolerate: [errno.noEntry],
    },
    { message: resolveNeighbor(index, address), what: `ask for neighbour ${ip}` },
  ];
}
