// The neighbour on the way to another node, as the kernel knows it, for VPP: it would ask by itself, and drop the packet
// for which it asks. Of a WireGuard tunnel that is the first handshake, and the next comes five seconds later.

import {
  getNeighbor,
  getRouteTo,
  parseNeighbor,
  parseRoute,
  resolveNeighbor,
} from '../../protocols/netlink/address.ts';
import type { EncodedMessage, NetlinkMessage } from '../../protocols/netlink/codec.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { parseIp, parseMac } from '../../protocols/netlink/ip-address.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import { vppAddress } from '../../protocols/vpp/vpp-address.ts';

export interface Way {
  /** VPP's interface over the link that leads there. */
  readonly uplink: number;
  readonly remoteIp: string;
}

/** What goes wrong here costs the first packets and no more. */
export async function introduce(
  { netlink, vpp }: { readonly netlink: Netlink; readonly vpp: Vpp },
  { uplink, remoteIp }: Way,
  budget: Budget,
): Promise<void> {
  const ask = async (message: EncodedMessage): Promise<NetlinkMessage | undefined> => {
    const requests = [{ message, what: 'find the way to a node', tolerate: [errno.noEntry] }];
    const outcome = await netlink.execute([{ protocol: 'route', requests }], budget);
    return outcome.ok ? outcome.answers[0]?.[0]?.messages[0] : undefined;
  };
  const answer = await ask(getRouteTo(parseIp(remoteIp)));
  const route = answer && parseRoute(answer);
  if (route === undefined) return;
  const nextHop = route.gateway ?? remoteIp;
  const found = await ask(getNeighbor(route.index, parseIp(nextHop)));
  const macAddress = found && parseNeighbor(found)?.macAddress;
  if (macAddress === undefined) {
    // VPP hears the answer as the kernel does.
    await ask(resolveNeighbor(route.index, parseIp(nextHop)));
    return;
  }
  const neighbor = {
    sw_if_index: uplink,
    mac_address: parseMac(macAddress),
    ip_address: vppAddress(nextHop),
  };
  await vpp.request('ip_neighbor_add_del', { is_add: true, neighbor }, budget);
}
