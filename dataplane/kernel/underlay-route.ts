// Which way packets to other nodes leave this one.

import { type FoundRoute, getRouteTo, parseRoute } from '../../protocols/netlink/address.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { parseIp } from '../../protocols/netlink/ip-address.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { run } from './run.ts';

/** By place; undefined where there is no route yet. */
export async function routesTo(
  netlink: Netlink,
  ips: readonly string[],
  budget: Budget,
): Promise<readonly (FoundRoute | undefined)[]> {
  const requests = ips.map((ip) => ({
    message: getRouteTo(parseIp(ip)),
    what: `find the route to ${ip}`,
    tolerate: [errno.noSuchRoute, errno.networkUnreachable, errno.hostUnreachable, errno.invalid],
  }));
  const [answers = []] = await run(netlink, [{ protocol: 'route', requests }], budget);
  return ips.map((_, at) => {
    const message = answers[at]?.messages[0];
    return message === undefined ? undefined : parseRoute(message);
  });
}
