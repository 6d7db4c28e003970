// Policy routes of a workload: per policy one rule and one routing table, in the workload's namespace.
// NSM concept: policy-based routing at the client (the reference's iprule and iptable). Invariants: a table belongs to the
// wire whose mark is in it; rules and tables of others are never touched nor used; what is right already stays as it
// is; a rule is there only after its table is whole, and a table goes only after its rule.

import { errno } from '../../protocols/netlink/errno.ts';
import type { NetlinkNumber } from '../../protocols/netlink/codec.ts';
import { dumpRoutes } from '../../protocols/netlink/address.ts';
import { family } from '../../protocols/netlink/constants.ts';
import {
  formatPrefix,
  networkOf,
  parseIp,
  parsePrefix,
} from '../../protocols/netlink/ip-address.ts';
import {
  addRule,
  addTableMark,
  addTableRoute,
  deleteRule,
  deleteTableMark,
  deleteTableRoute,
  dumpRules,
  type FoundTableRoute,
  parseRule,
  parseTableRoute,
  type Rule,
  type TableRoute,
} from '../../protocols/netlink/rule.ts';
import type { Budget, WirePolicy, WireRoute } from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkStep } from '../../protocols/ports/netlink.ts';
import { buildProgram, type ProgramBuilder } from './program-builder.ts';
import { run } from './run.ts';

/** What is there of one wire's policies in its workload's namespace, and which tables are in use at all. */
export interface FoundPolicies {
  /** Of this wire: rules that lead to its tables. */
  readonly rules: readonly Rule[];
  /** This wire's tables, with everything in them. */
  readonly tables: ReadonlyMap<number, readonly FoundTableRoute[]>;
  /** Tables that something of anybody is in or leads to. */
  readonly taken: ReadonlySet<number>;
}

/** Rules of ours are asked before those that every namespace has (main at 32766), in the order of the policies. */
const priorityFirst = 30_000;
/** RT_TABLE_DEFAULT, MAIN and LOCAL. */
const reservedTables = [253, 254, 255];

const goneCodes = [errno.noEntry, errno.noSuchRoute, errno.noDevice, errno.invalid];

/** What rules and routes a namespace has, whoever's they are. */
export interface FoundRouting {
  readonly rules: readonly NonNullable<ReturnType<typeof parseRule>>[];
  readonly routes: readonly FoundTableRoute[];
}

export async function lookAtRouting(
  netlink: Netlink,
  namespace: string,
  budget: Budget,
): Promise<FoundRouting> {
  const step: NetlinkStep = {
    namespace,
    protocol: 'route',
    requests: [
      { message: dumpRules(), what: `list the rules in ${namespace}` },
      { message: dumpRoutes(), what: `list the routes in ${namespace}` },
    ],
  };
  const [[ruleAnswer, routeAnswer] = []] = await run(netlink, [step], budget);
  return {
    rules: (ruleAnswer?.messages ?? []).flatMap((each) => parseRule(each) ?? []),
    routes: (routeAnswer?.messages ?? []).flatMap((each) => parseTableRoute(each) ?? []),
  };
}

export function policiesIn({ rules, routes }: FoundRouting, wireId: string): FoundPolicies {
  const own = ownerMetric(wireId);
  const tables = new Map<number, FoundTableRoute[]>();
  for (const { kind, isOurs, metric, table } of routes) {
    if (kind === 'mark' && isOurs && metric === own) tables.set(table, []);
  }
  for (const route of routes) if (route.isOurs) tables.get(route.table)?.push(route);
  return {
    rules: rules
      .filter(({ rule, isOurs }) => isOurs && tables.has(rule.table))
      .map(({ rule }) => rule),
    tables,
    taken: new Set([...rules.map(({ rule }) => rule.table), ...routes.map(({ table }) => table)]),
  };
}

export const hasPolicies = ({ tables }: FoundPolicies): boolean => tables.size > 0;

/** Makes what is there what the end wants. The builder is in the end's namespace. */
export function configurePolicies(
  program: ProgramBuilder,
  place: { readonly wireId: string; readonly interfaceName: string; readonly index: NetlinkNumber },
  wanted: readonly WirePolicy[],
  found: FoundPolicies,
): void {
  const metric = ownerMetric(place.wireId);
  const taken = new Set(found.taken);
  const kept = new Set<number>();
  const keptRules = new Set<Rule>();
  for (const [position, policy] of wanted.entries()) {
    const want = ruleOf(policy, position);
    const present = found.rules.find((rule) => isSame(rule, want) && !kept.has(rule.table));
    const table = present?.table ?? withoutRule(found, want.family, kept) ?? lowestFree(taken);
    taken.add(table);
    kept.add(table);
    if (present !== undefined) keptRules.add(present);
    const scope = { ...place, table, family: want.family, metric };
    fillTable(program, scope, policy.routes, found.tables.get(table) ?? []);
    if (present !== undefined) continue;
    const rule = { ...want, table };
    program.add(`add ${describe(rule)} for ${place.interfaceName}`, addRule(rule), {
      tolerate: [errno.exists],
      undo: [deleteRule(rule)],
    });
  }
  const leftRules = found.rules.filter((rule) => !keptRules.has(rule));
  const leftTables = [...found.tables].filter(([table]) => !kept.has(table));
  removeLeft(program, place.interfaceName, leftRules, leftTables);
}

/** A program that takes away everything of a wire's policies; empty where there is nothing. */
export function removalOf(
  place: { readonly namespace: string; readonly interfaceName: string },
  found: FoundPolicies,
): readonly NetlinkStep[] {
  const program = buildProgram();
  program.enter(place.namespace);
  removeLeft(program, place.interfaceName, found.rules, [...found.tables]);
  return program.finish().steps;
}

function removeLeft(
  program: ProgramBuilder,
  name: string,
  rules: readonly Rule[],
  tables: readonly (readonly [number, readonly FoundTableRoute[]])[],
): void {
  for (const rule of rules) {
    program.add(`remove ${describe(rule)} of ${name}`, deleteRule(rule), {
      tolerate: goneCodes,
      undo: [addRule(rule)],
    });
  }
  for (const [table, routes] of tables) {
    for (const route of routes) removeFrom(program, table, route);
  }
}

interface TableScope {
  readonly interfaceName: string;
  readonly index: NetlinkNumber;
  readonly table: number;
  readonly family: Rule['family'];
  readonly metric: number;
}

function fillTable(
  program: ProgramBuilder,
  { interfaceName, index, table, family: ofFamily, metric }: TableScope,
  wanted: readonly WireRoute[],
  present: readonly FoundTableRoute[],
): void {
  if (!present.some(({ kind }) => kind === 'mark')) {
    const mark = { family: ofFamily, table, metric };
    program.add(`take table ${table} for ${interfaceName}`, addTableMark(mark), {
      undo: [deleteTableMark(mark)],
    });
  }
  const keys = new Set(wanted.map(keyOfWanted));
  for (const route of present) {
    if (route.kind === 'route' && !keys.has(keyOf(route))) removeFrom(program, table, route);
  }
  // What is on the link comes first, since a gateway may be behind it.
  const ordered = wanted.toSorted(
    (a, b) => Number(a.gateway !== undefined) - Number(b.gateway !== undefined),
  );
  for (const route of ordered) {
    const details = tableRoute(table, index, route);
    program.add(`add route ${route.prefix} to table ${table}`, addTableRoute(details), {
      // An interface that the workload has taken down takes no routes; the next time it may be up.
      tolerate: [errno.exists, errno.networkDown],
      undo: [deleteTableRoute(details)],
    });
  }
}

function removeFrom(program: ProgramBuilder, table: number, route: FoundTableRoute): void {
  const what = `remove ${route.kind} ${route.prefix} from table ${table}`;
  if (route.kind === 'mark') {
    const { family: ofFamily, metric } = route;
    const mark = { family: ofFamily, table, metric };
    program.add(what, deleteTableMark(mark), { tolerate: goneCodes, undo: [addTableMark(mark)] });
    return;
  }
  const details = tableRoute(table, route.index, route);
  program.add(what, deleteTableRoute(details), {
    tolerate: goneCodes,
    undo: [addTableRoute(details)],
  });
}

function tableRoute(
  table: number,
  index: NetlinkNumber,
  { prefix, gateway }: { readonly prefix: string; readonly gateway?: string | undefined },
): TableRoute {
  const destination = parsePrefix(prefix);
  return gateway === undefined
    ? { table, index, destination }
    : { table, index, destination, gateway: parseIp(gateway) };
}

const keyOf = ({ prefix, gateway }: { prefix: string; gateway?: string | undefined }): string =>
  `${prefix} ${gateway ?? ''}`;

function keyOfWanted({ prefix, gateway }: WireRoute): string {
  const { bytes, prefixLengthBits } = networkOf(parsePrefix(prefix));
  return keyOf({ prefix: formatPrefix(bytes, prefixLengthBits), gateway });
}

function ruleOf(policy: WirePolicy, position: number): Omit<Rule, 'table'> {
  const source = policy.from === undefined ? undefined : networkOf(parsePrefix(policy.from));
  const { ipProtocol, sourcePorts, destinationPorts } = policy;
  const [first] = policy.routes;
  return {
    family: source?.family ?? parsePrefix(first?.prefix ?? '0.0.0.0/0').family,
    priority: priorityFirst + position,
    ...(source === undefined || source.prefixLengthBits === 0 ? {} : { source }),
    ...(ipProtocol === undefined || ipProtocol === 0 ? {} : { ipProtocol }),
    ...(sourcePorts === undefined ? {} : { sourcePorts }),
    ...(destinationPorts === undefined ? {} : { destinationPorts }),
  };
}

function isSame(found: Rule, wanted: Omit<Rule, 'table'>): boolean {
  return describe({ ...wanted, table: found.table }) === describe(found);
}

/** In words, and the same for the same rule. */
function describe(rule: Rule): string {
  const { source, ipProtocol, sourcePorts, destinationPorts } = rule;
  const parts = [
    rule.family === family.inet ? 'IPv4' : 'IPv6',
    `rule ${rule.priority}`,
    source === undefined
      ? 'from all'
      : `from ${formatPrefix(source.bytes, source.prefixLengthBits)}`,
    ...(ipProtocol === undefined ? [] : [`protocol ${ipProtocol}`]),
    ...(sourcePorts === undefined ? [] : [`sport ${sourcePorts.first}-${sourcePorts.last}`]),
    ...(destinationPorts === undefined
      ? []
      : [`dport ${destinationPorts.first}-${destinationPorts.last}`]),
    `to table ${rule.table}`,
  ];
  return parts.join(' ');
}

/** A table of this wire whose rule somebody took away. */
function withoutRule(
  { rules, tables }: FoundPolicies,
  ofFamily: Rule['family'],
  kept: ReadonlySet<number>,
): number | undefined {
  return [...tables.keys()].find(
    (table) =>
      !kept.has(table) &&
      !rules.some((rule) => rule.table === table) &&
      tables.get(table)?.every((route) => route.family === ofFamily) === true,
  );
}

function lowestFree(taken: ReadonlySet<number>): number {
  let table = 1;
  while (taken.has(table) || reservedTables.includes(table)) table += 1;
  return table;
}

/** FNV-1a of the wire's id in the upper half of the numbers, so that every route with a usual metric comes first. */
function ownerMetric(wireId: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(wireId)) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return (hash | 0x80000000) >>> 0;
}
