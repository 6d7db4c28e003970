// What the kernel is told to route everything that enters one end of a chain out of the other, whatever addresses the ends
// have. A forwarder gives a passthrough's ends the addresses of client and Endpoint, so the kernel would take what is meant
// for the Endpoint as meant for itself: the rules of the chain are asked before the table of local addresses, which
// moves behind them. Neighbour discovery of IPv6 is marked and goes to that table first; ARP is answered by proxy.

import { family, routeTableLocal } from '../../protocols/netlink/constants.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { parsePrefix } from '../../protocols/netlink/ip-address.ts';
import {
  addRule as addFilterRule,
  ensurePreroutingChain,
  ensureTable,
  flushChain,
  type NftExpression,
} from '../../protocols/netlink/nftables.ts';
import { addRule, addTableRoute, deleteAnyRule, type Rule } from '../../protocols/netlink/rule.ts';
import type { NetlinkRequest } from '../../protocols/ports/netlink.ts';
import type { ProgramBuilder } from './program-builder.ts';

/** In the order in which the kernel asks them; 0 is where it keeps its own rule for local addresses. */
const priority = { discovery: 100, chain: 200, local: 300, kernelLocal: 0 } as const;
const tableBase = 0x76_000000;
const discoveryMark = 0x76;
export const filterTable = 'vwire-chain';
const nftChain = 'discovery';
export const families = [family.inet, family.inet6] as const;

/** Global and private unicast: link-local traffic and multicast stay on their link. */
const everything: Readonly<Record<number, readonly string[]>> = {
  [family.inet]: ['0.0.0.0/0'],
  [family.inet6]: ['2000::/3', 'fc00::/7'],
};

/** Settings of the namespace; those of an interface are set once it is there. */
export const namespaceSettings: readonly (readonly [string, string])[] = [
  ['ipv4/ip_forward', '1'],
  ['ipv4/conf/all/rp_filter', '0'],
  ['ipv6/conf/all/forwarding', '1'],
];

export function interfaceSettings(name: string): readonly (readonly [string, string])[] {
  const of = `ipv4/conf/${name}`;
  return [
    // The source of what passes is an address of the other end.
    [`${of}/accept_local`, '1'],
    [`${of}/rp_filter`, '0'],
    [`${of}/proxy_arp`, '1'],
    [`${of}/send_redirects`, '0'],
  ];
}

/** Puts the table of local addresses behind the chain's rules. May be repeated. */
export function moveLocalTable(program: ProgramBuilder): void {
  for (const each of families) {
    const rule = { family: each, priority: priority.local, table: routeTableLocal };
    const tolerate = [errno.exists, errno.familyNotSupported];
    program.add('add the rule for local addresses', addRule(rule), { tolerate });
    const before = { ...rule, priority: priority.kernelLocal };
    program.add('remove the first rule for local addresses', deleteAnyRule(before), {
      tolerate: [errno.noEntry, errno.familyNotSupported],
    });
  }
  const marked = {
    family: family.inet6,
    priority: priority.discovery,
    table: routeTableLocal,
    mark: discoveryMark,
  };
  program.add('add the rule for neighbour discovery', addRule(marked), {
    tolerate: [errno.exists, errno.familyNotSupported],
  });
}

/** Neighbour solicitations and advertisements, ICMPv6 types 135 and 136, get the mark. */
export function markDiscovery(): readonly NetlinkRequest[] {
  const bytes = (value: number) => new Uint8Array([value]);
  const marking = (type: number): readonly NftExpression[] => [
    { kind: 'meta', key: 'nfproto', register: 0 },
    { kind: 'equals', register: 0, value: bytes(family.inet6) },
    { kind: 'meta', key: 'l4proto', register: 0 },
    { kind: 'equals', register: 0, value: bytes(58) },
    { kind: 'payload', base: 'transport', offset: 0, length: 1, register: 0 },
    { kind: 'equals', register: 0, value: bytes(type) },
    {
      kind: 'immediate',
      register: 0,
      value: new Uint8Array(new Uint32Array([discoveryMark]).buffer),
    },
    { kind: 'setMark', register: 0 },
  ];
  return [
    { what: `make table ${filterTable}`, message: ensureTable(filterTable) },
    { what: `make chain ${nftChain}`, message: ensurePreroutingChain(filterTable, nftChain) },
    { what: `empty chain ${nftChain}`, message: flushChain(filterTable, nftChain) },
    ...[135, 136].map((type) => ({
      what: `mark ICMPv6 type ${type}`,
      message: addFilterRule(filterTable, nftChain, marking(type)),
    })),
  ];
}

export function chainRule(each: Rule['family'], incoming: string, outgoingIndex: number): Rule {
  return {
    family: each,
    priority: priority.chain,
    table: tableBase + outgoingIndex,
    incoming,
  };
}

/** Everything that enters `incoming` leaves by the other interface. */
export function routeThrough(
  program: ProgramBuilder,
  incoming: string,
  outgoing: { readonly name: string; readonly index: number },
): void {
  const { name, index } = outgoing;
  for (const each of families) {
    const rule = chainRule(each, incoming, index);
    const tolerate = [errno.exists, errno.familyNotSupported];
    for (const text of everything[each] ?? []) {
      const destination = parsePrefix(text);
      const message = addTableRoute({ index, destination, table: rule.table });
      // One that is down takes no routes; it is joined again when it comes up.
      const also = [...tolerate, errno.networkDown, errno.noDevice];
      program.add(`route ${text} to ${name}`, message, { tolerate: also });
    }
    program.add(`send what enters ${incoming} to ${name}`, addRule(rule), { tolerate });
  }
}
