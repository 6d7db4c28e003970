// The kernel's link that holds the node's outer address, with what VPP needs to send and answer there as the kernel does.

import {
  dumpAddresses,
  dumpRoutes,
  parseAddress,
  parseRoute,
} from '../../protocols/netlink/address.ts';
import { routeTableMain, routeTypeUnicast } from '../../protocols/netlink/constants.ts';
import { dumpLinks, type Link, parseLink } from '../../protocols/netlink/link.ts';
import type { NetlinkMessage } from '../../protocols/netlink/codec.ts';
import { NsmError } from '../../protocols/errors.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';

export interface UnderlayLink {
  readonly link: Link;
  /** In CIDR form, of the outer address's family, link-local ones left out. */
  readonly addresses: readonly string[];
  /** Of the main table, through this link, of that family. */
  readonly routes: readonly { readonly prefix: string; readonly gateway: string | undefined }[];
}

const familyOf = (text: string): 'ip4' | 'ip6' => (text.includes(':') ? 'ip6' : 'ip4');
const addressOf = (prefix: string): string => prefix.slice(0, prefix.indexOf('/'));
/** fe80::/10 and what multicast has; VPP makes its own. */
const isOwnAffair = (prefix: string): boolean => /^(fe[89ab]|ff)/.test(prefix);

/** Undefined where no link of the namespace has the address. */
export async function findUnderlayLink(
  netlink: Netlink,
  ip: string,
  budget: Budget,
): Promise<UnderlayLink | undefined> {
  const [links, addresses, routes] = await readAll(netlink, budget);
  const found = addresses.flatMap((message) => parseAddress(message) ?? []);
  const index = found.find(({ prefix }) => addressOf(prefix) === ip)?.index;
  const link = links
    .flatMap((message) => parseLink(message) ?? [])
    .find((each) => each.index === index);
  if (link === undefined) return undefined;
  const isRelevant = ({ index: at, prefix }: { index: number; prefix: string }): boolean =>
    at === index && familyOf(prefix) === familyOf(ip) && !isOwnAffair(prefix);
  return {
    link,
    addresses: found.filter(isRelevant).map(({ prefix }) => prefix),
    routes: routes
      .filter(({ payload }) => payload[4] === routeTableMain && payload[7] === routeTypeUnicast)
      .flatMap((message) => parseRoute(message) ?? [])
      .filter(isRelevant),
  };
}

async function readAll(netlink: Netlink, budget: Budget) {
  const requests = [
    { message: dumpLinks(), what: 'list the links of the node' },
    { message: dumpAddresses(), what: 'list the addresses of the node' },
    { message: dumpRoutes(), what: 'list the routes of the node' },
  ];
  const outcome = await netlink.execute([{ protocol: 'route', requests }], budget);
  if (!outcome.ok) {
    const { code, what, found } = outcome.failure;
    throw new NsmError(code, `could not ${what}`, { rule: 'underlay', found });
  }
  const [answers = []] = outcome.answers;
  const messagesOf = (at: number): readonly NetlinkMessage[] => answers[at]?.messages ?? [];
  return [messagesOf(0), messagesOf(1), messagesOf(2)] as const;
}
