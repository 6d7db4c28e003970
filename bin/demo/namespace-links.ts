// Reading and preparing the links of a namespace for the demo: the underlay between two nodes, and what a workload
// sees of its interface.

import { addAddress, deleteAddress } from '../../protocols/netlink/address.ts';
import { parsePrefix } from '../../protocols/netlink/ip-address.ts';
import {
  changeLink,
  changeLinkByName,
  createVeth,
  dumpLinks,
  getLink,
  getLinkByName,
  type Link,
  parseLink,
} from '../../protocols/netlink/link.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkAnswer, NetlinkRequest } from '../../protocols/ports/netlink.ts';
import { NsmError } from '../../protocols/errors.ts';

const budget = { timeoutMs: 10_000 };
export const underlayName = 'underlay';
const underlayMtu = 1500;
const lookAgainAfterMs = 5;

/** An end of the underlay: namespace URL and address in CIDR form. */
export interface UnderlayEnd {
  readonly namespace: string;
  readonly address: string;
}

/** A veth named `underlay` in both namespaces, up, with the addresses given. */
export async function joinUnderlay(
  netlink: Netlink,
  first: UnderlayEnd,
  second: UnderlayEnd,
): Promise<void> {
  await run(netlink, first.namespace, [
    {
      message: createVeth({
        name: underlayName,
        group: 0,
        mtu: underlayMtu,
        peer: {
          name: underlayName,
          namespaceDescriptor: { namespaceDescriptor: second.namespace },
        },
      }),
      what: 'create the underlay',
    },
  ]);
  const index = { register: 'link' };
  for (const { namespace, address } of [first, second]) {
    await run(netlink, namespace, [
      {
        message: getLinkByName(underlayName),
        what: 'find the underlay',
        store: { register: 'link', offset: 4 },
      },
      { message: changeLink({ index, isUp: true }), what: 'set the underlay up' },
      { message: addAddress(index, parsePrefix(address)), what: `add ${address}` },
    ]);
  }
}

/** Resolves once somebody has made the link. Errors: DEADLINE_EXCEEDED. */
export async function linkIn(
  netlink: Netlink,
  namespace: string,
  name: string,
  { timeoutMs }: Budget,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await linksOf(netlink, namespace)).some((link) => link.name === name)) {
    if (performance.now() > endMs) {
      throw new NsmError('DEADLINE_EXCEEDED', `nobody made ${name}`, {
        expected: `within ${timeoutMs} ms`,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, lookAgainAfterMs));
  }
}

/** From one link to another, which comes up. */
export async function moveAddresses(
  netlink: Netlink,
  namespace: string,
  move: { readonly addresses: readonly string[]; readonly from: string; readonly to: string },
): Promise<void> {
  const links = await linksOf(netlink, namespace);
  const indexOf = (name: string): number => links.find((link) => link.name === name)?.index ?? 0;
  const [from, to] = [indexOf(move.from), indexOf(move.to)];
  await run(netlink, namespace, [
    { message: changeLink({ index: to, isUp: true }), what: `set ${move.to} up` },
    ...move.addresses.flatMap((address) => [
      { message: deleteAddress(from, parsePrefix(address)), what: `take ${address} off` },
      { message: addAddress(to, parsePrefix(address)), what: `add ${address} to ${move.to}` },
    ]),
  ]);
}

/** The named link with its counters; undefined where it is not there. */
export async function readInterface(
  netlink: Netlink,
  namespace: string,
  name: string,
): Promise<Link | undefined> {
  const found = await linksOf(netlink, namespace);
  const index = found.find((link) => link.name === name)?.index;
  if (index === undefined) return undefined;
  const [answer] = await run(netlink, namespace, [
    { message: getLink(index, true), what: `read ${name}` },
  ]);
  return linksIn(answer)[0];
}

export async function linksOf(
  netlink: Netlink,
  namespace: string | undefined,
): Promise<readonly Link[]> {
  const [answer] = await run(netlink, namespace, [{ message: dumpLinks(), what: 'list links' }]);
  return linksIn(answer);
}

export async function setDown(netlink: Netlink, namespace: string, name: string): Promise<void> {
  await run(netlink, namespace, [
    { message: changeLinkByName(name, { isUp: false }), what: `set ${name} down` },
  ]);
}

function linksIn(answer: NetlinkAnswer | undefined): readonly Link[] {
  return (answer?.messages ?? []).flatMap((message) => parseLink(message) ?? []);
}

async function run(
  netlink: Netlink,
  namespace: string | undefined,
  requests: readonly NetlinkRequest[],
): Promise<readonly NetlinkAnswer[]> {
  const step = {
    protocol: 'route' as const,
    requests,
    ...(namespace === undefined ? {} : { namespace }),
  };
  const outcome = await netlink.execute([step], budget);
  if (outcome.ok) return outcome.answers[0] ?? [];
  const { what, found, code, remedy } = outcome.failure;
  throw new NsmError(code, `could not ${what}`, {
    found,
    ...(remedy === undefined ? {} : { remedy }),
  });
}
