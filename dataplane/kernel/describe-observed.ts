// What `list` says about the links found under the owner's tags: one line per wire, and whether it is whole.

import { errno } from '../../protocols/netlink/errno.ts';
import {
  dumpIngressFilters,
  parseRedirectTarget,
} from '../../protocols/netlink/traffic-control.ts';
import type { Budget, ObservedWire } from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkRequest } from '../../protocols/ports/netlink.ts';
import type { Inventory, OwnedLink } from './observe.ts';
import { run } from './run.ts';

/** Filter dumps per program, so that others get their turn in between. */
const batchMax = 256;

export async function describeObserved(
  netlink: Netlink,
  inventory: Inventory,
  budget: Budget,
): Promise<ObservedWire[]> {
  const links = [...inventory.byWire.values()].flat();
  const ends = links.filter(({ tag }) => tag.role !== 'bridge').map(({ link }) => link.index);
  const targets = await redirectTargets(netlink, ends, budget);
  return [...inventory.byWire].map(([id, owned]) => ({
    id,
    version: Math.min(...owned.map(({ tag }) => tag.version)),
    complete: isWhole(owned, targets),
    objects: owned.map(({ link }) => link.name),
  }));
}

async function redirectTargets(
  netlink: Netlink,
  indexes: readonly number[],
  budget: Budget,
): Promise<ReadonlyMap<number, number>> {
  const targets = new Map<number, number>();
  for (let start = 0; start < indexes.length; start += batchMax) {
    const batch = indexes.slice(start, start + batchMax);
    const requests: NetlinkRequest[] = batch.map((index) => ({
      message: dumpIngressFilters(index),
      what: `read the filters of link ${index}`,
      tolerate: [errno.noDevice, errno.invalid, errno.noEntry],
    }));
    const answers = await run(netlink, [{ protocol: 'route', requests }], budget);
    for (const [position, index] of batch.entries()) {
      for (const message of answers[0]?.[position]?.messages ?? []) {
        const target = parseRedirectTarget(message);
        if (target !== undefined) targets.set(index, target);
      }
    }
  }
  return targets;
}

/** One link per side, marked as made, up, and joined both ways. */
function isWhole(owned: readonly OwnedLink[], targets: ReadonlyMap<number, number>): boolean {
  const clients = owned.filter(({ tag }) => tag.role === 'client');
  const endpoints = owned.filter(({ tag }) => tag.role === 'endpoint');
  const bridge = owned.find(({ tag }) => tag.role === 'bridge');
  const [client] = clients;
  const [endpoint] = endpoints;
  if (client === undefined || endpoint === undefined) return false;
  if (clients.length > 1 || endpoints.length > 1) return false;
  const ends = [client.link, endpoint.link];
  if (!client.tag.isDone || !endpoint.tag.isDone) return false;
  if (!ends.every(({ isUp }) => isUp)) return false;
  if (bridge !== undefined) {
    return bridge.link.isUp && ends.every(({ master }) => master === bridge.link.index);
  }
  return (
    targets.get(client.link.index) === endpoint.link.index &&
    targets.get(endpoint.link.index) === client.link.index
  );
}
