// The node's link that leads into a network outside of the mesh.

import { NsmError } from '../../protocols/errors.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { changeLink, getLinkByName, type Link, parseLink } from '../../protocols/netlink/link.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkRequest } from '../../protocols/ports/netlink.ts';

/** Undefined where there is none of that name. */
export async function findLink(
  netlink: Netlink,
  name: string,
  budget: Budget,
): Promise<Link | undefined> {
  const message = getLinkByName(name);
  const request = { message, what: `find ${name}`, tolerate: [errno.noDevice] };
  const [found] = await run(netlink, request, budget);
  return found && parseLink(found);
}

/** Whether the link takes in frames for the addresses of clients. A link that is gone is no error. */
export async function setPromiscuous(
  netlink: Netlink,
  index: number,
  isPromiscuous: boolean,
  budget: Budget,
): Promise<void> {
  const message = changeLink({ index, isPromiscuous });
  const what = `let link ${index} take in ${isPromiscuous ? 'all' : 'its own'} frames`;
  await run(netlink, { message, what, tolerate: [errno.noDevice] }, budget);
}

async function run(netlink: Netlink, request: NetlinkRequest, budget: Budget) {
  const outcome = await netlink.execute([{ protocol: 'route', requests: [request] }], budget);
  if (outcome.ok) return outcome.answers[0]?.[0]?.messages ?? [];
  const { code, what, found } = outcome.failure;
  throw new NsmError(code, `could not ${what}`, { rule: 'via', found });
}
