// The policy routes of a namespace as text, for tests: what of it vwire made and what others did.

import { dumpRoutes } from '../../protocols/netlink/address.ts';
import { formatPrefix } from '../../protocols/netlink/ip-address.ts';
import { dumpRules, parseRule, parseTableRoute, type Rule } from '../../protocols/netlink/rule.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';

export interface PolicyFacts {
  /** Ours, in the order in which the kernel asks them. */
  readonly rules: readonly string[];
  /** Routes of ours outside the main table, sorted; marks are left out. */
  readonly routes: readonly string[];
  /** Tables that hold a mark of ours. */
  readonly tables: readonly number[];
}

const mainTable = 254;

export async function policyFacts(netlink: Netlink, namespace: string): Promise<PolicyFacts> {
  const requests = [
    { message: dumpRules(), what: 'list rules' },
    { message: dumpRoutes(), what: 'list routes' },
  ];
  const outcome = await netlink.execute([{ namespace, protocol: 'route', requests }], {
    timeoutMs: 10_000,
  });
  if (!outcome.ok) throw new Error(outcome.failure.found);
  const [[rules, routes] = []] = outcome.answers;
  const found = (routes?.messages ?? []).flatMap((each) => parseTableRoute(each) ?? []);
  const ours = found.filter(({ table, isOurs }) => isOurs && table !== mainTable);
  return {
    rules: (rules?.messages ?? []).flatMap((each) => {
      const parsed = parseRule(each);
      return parsed?.isOurs === true ? [ruleText(parsed.rule)] : [];
    }),
    routes: ours
      .filter(({ kind }) => kind === 'route')
      .map(({ table, prefix, gateway }) => `${table}: ${prefix} via ${gateway ?? 'link'}`)
      .toSorted(),
    tables: ours
      .flatMap(({ kind, table }) => (kind === 'mark' ? [table] : []))
      .toSorted((a, b) => a - b),
  };
}

export const noPolicies: PolicyFacts = { rules: [], routes: [], tables: [] };

function ruleText({ source, ipProtocol, sourcePorts, destinationPorts, table }: Rule): string {
  const from = source === undefined ? 'all' : formatPrefix(source.bytes, source.prefixLengthBits);
  const parts = [`from ${from}`];
  if (ipProtocol !== undefined) parts.push(`proto ${ipProtocol}`);
  if (sourcePorts !== undefined) parts.push(`sport ${sourcePorts.first}-${sourcePorts.last}`);
  if (destinationPorts !== undefined) {
    parts.push(`dport ${destinationPorts.first}-${destinationPorts.last}`);
  }
  return `${parts.join(' ')} table ${table}`;
}
