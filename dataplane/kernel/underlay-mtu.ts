// Which MTU a wire gets: what was asked for; else what it has, lowered where a new tunnel carries less.
// NSM concept: the MTU in the connection context. Without a request a live wire's MTU never grows.

import { errno } from '../../protocols/netlink/errno.ts';
import { getLink, parseLink } from '../../protocols/netlink/link.ts';
import { tunnelOverheadBytes } from '../../protocols/nsm/mtu.ts';
import type { Budget, Wire } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { run } from './run.ts';
import { routesTo } from './underlay-route.ts';
import type { CurrentWire } from './wire-state.ts';
import { sides } from './wire-state.ts';

/** Ethernet's payload, which is also the kernel's default for veth. */
const localMtu = 1500;
const leastMtu = 68;

export async function chooseMtu(
  netlink: Netlink,
  wire: Wire,
  current: CurrentWire,
  budget: Budget,
): Promise<number> {
  if (wire.mtu > 0) return wire.mtu;
  const present = current.client?.mtu ?? current.endpoint?.mtu;
  let mtu = present;
  for (const side of sides) {
    const end = wire[side];
    const isTunnel = end.kind === 'vxlan' || end.kind === 'wireguard' || end.kind === 'ipsec';
    if (!isTunnel || current[side] !== undefined) continue;
    const family = end.remoteIp.includes(':') ? 6 : 4;
    const overhead = tunnelOverheadBytes(end.kind.toUpperCase(), family);
    const carried = (await underlayMtu(netlink, end.remoteIp, budget)) - overhead;
    mtu = Math.max(leastMtu, Math.min(mtu ?? carried, carried));
  }
  return mtu ?? localMtu;
}

/** MTU of the link that a packet to `remoteIp` leaves by; Ethernet's where there is no route yet. */
async function underlayMtu(netlink: Netlink, remoteIp: string, budget: Budget): Promise<number> {
  const [route] = await routesTo(netlink, [remoteIp], budget);
  if (route === undefined || route.index === 0) return localMtu;
  const query = {
    message: getLink(route.index),
    what: `read the link to ${remoteIp}`,
    tolerate: [errno.noDevice],
  };
  const found = await run(netlink, [{ protocol: 'route', requests: [query] }], budget);
  const link = found[0]?.[0]?.messages[0];
  return (link === undefined ? undefined : parseLink(link)?.mtu) ?? localMtu;
}
