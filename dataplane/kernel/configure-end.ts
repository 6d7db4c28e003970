// What the workload's interface needs inside its namespace: up (when new), addresses, routes, neighbours.
// NSM concept: the connection context of one side.
// Invariants: what the workload did to its own interface stays; what is ours is present, and what was ours and is
// no longer wanted is gone; each addition is undone only where this program made it.

import type { NetlinkNumber } from '../../protocols/netlink/codec.ts';
import {
  addAddress,
  addRoute,
  deleteAddress,
  deleteNeighbor,
  deleteRoute,
  setNeighbor,
} from '../../protocols/netlink/address.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import {
  formatPrefix,
  networkOf,
  parseIp,
  parseMac,
  parsePrefix,
} from '../../protocols/netlink/ip-address.ts';
import type { KernelEnd } from '../../protocols/ports/dataplane.ts';
import type { ProgramBuilder } from './program-builder.ts';
import type { EndConfiguration } from './wire-state.ts';

/** Codes for "it is not there any more" of the three kinds of objects. */
const gone = [
  errno.noEntry,
  errno.noSuchRoute,
  errno.noDevice,
  errno.addressNotAvailable,
  errno.invalid,
];

export function configureEnd(
  program: ProgramBuilder,
  end: KernelEnd,
  index: NetlinkNumber,
  present: EndConfiguration,
): void {
  const wanted = configurationOf(end);
  const { interfaceName: name } = end;
  for (const address of present.addresses) {
    if (wanted.addresses.includes(address)) continue;
    const message = deleteAddress(index, parsePrefix(address));
    program.add(`remove address ${address} from ${name}`, message, { tolerate: gone });
  }
  for (const address of wanted.addresses) {
    const prefix = parsePrefix(address);
    program.add(`add address ${address} to ${name}`, addAddress(index, prefix), {
      tolerate: [errno.exists],
      undo: [deleteAddress(index, prefix)],
    });
  }
  configureRoutes(program, { name, index, present, wanted });
  for (const ip of present.neighbors) {
    if (wanted.neighbors.includes(ip)) continue;
    const message = deleteNeighbor(index, parseIp(ip));
    program.add(`remove neighbour ${ip} from ${name}`, message, { tolerate: gone });
  }
  for (const { ip, macAddress } of end.neighbors) {
    const message = setNeighbor(index, parseIp(ip), parseMac(macAddress));
    program.add(`set neighbour ${ip} on ${name}`, message);
  }
}

/** The wanted configuration in canonical text. */
export function configurationOf(end: KernelEnd): EndConfiguration {
  return {
    addresses: end.addresses.map((address) => {
      const { bytes, prefixLengthBits } = parsePrefix(address);
      return formatPrefix(bytes, prefixLengthBits);
    }),
    routes: end.routes.map(({ prefix, gateway }) => {
      const network = networkOf(parsePrefix(prefix));
      const text = formatPrefix(network.bytes, network.prefixLengthBits);
      return gateway === undefined ? { prefix: text } : { prefix: text, gateway };
    }),
    neighbors: end.neighbors.map(({ ip }) => ip),
  };
}

function configureRoutes(
  program: ProgramBuilder,
  options: {
    readonly name: string;
    readonly index: NetlinkNumber;
    readonly present: EndConfiguration;
    readonly wanted: EndConfiguration;
  },
): void {
  const { name, index, present, wanted } = options;
  const key = (route: EndConfiguration['routes'][number]) => `${route.prefix} ${route.gateway}`;
  const wantedKeys = new Set(wanted.routes.map(key));
  for (const route of present.routes) {
    if (wantedKeys.has(key(route))) continue;
    const message = deleteRoute(routeOptions(index, route));
    program.add(`remove route ${route.prefix} from ${name}`, message, { tolerate: gone });
  }
  // What is on the link comes first, since a gateway may be behind it.
  const ordered = [...wanted.routes].sort(
    (a, b) => Number(a.gateway !== undefined) - Number(b.gateway !== undefined),
  );
  for (const route of ordered) {
    const details = routeOptions(index, route);
    program.add(`add route ${route.prefix} to ${name}`, addRoute(details), {
      // An interface that the workload has taken down takes no routes; the next time it may be up.
      tolerate: [errno.exists, errno.networkDown],
      undo: [deleteRoute(details)],
    });
  }
}

function routeOptions(index: NetlinkNumber, route: EndConfiguration['routes'][number]) {
  const destination = parsePrefix(route.prefix);
  if (route.gateway === undefined) return { index, destination };
  return { index, destination, gateway: parseIp(route.gateway) };
}
