// The MTU of the link that holds the tunnel address: what a tunnel may offer its peer follows from it.

import { networkInterfaces } from 'node:os';
import { dumpLinks, parseLink } from '../../protocols/netlink/link.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';

const readTimeoutMs = 5_000;

/** In bytes; 0 (not known) where no link of this namespace holds the address. */
export async function underlayMtu(
  netlink: Netlink,
  tunnelIp: string | undefined,
  log: Log,
): Promise<number> {
  if (tunnelIp === undefined) return 0;
  const device = Object.entries(networkInterfaces()).find(([, addresses]) =>
    addresses?.some(({ address }) => address === tunnelIp),
  )?.[0];
  if (device === undefined) {
    log.warn('no link holds the tunnel address: remote wires cannot be made', { tunnelIp });
    return 0;
  }
  const requests = [{ message: dumpLinks(), what: 'list links' }];
  const outcome = await netlink.execute([{ protocol: 'route', requests }], {
    timeoutMs: readTimeoutMs,
  });
  if (!outcome.ok) return 0;
  const links = (outcome.answers[0]?.[0]?.messages ?? []).flatMap((each) => parseLink(each) ?? []);
  return links.find(({ name }) => name === device)?.mtu ?? 0;
}
