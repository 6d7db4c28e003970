// Policy rules (RTM_NEWRULE and its kin) and the routes of the tables that they lead to.
// NSM concept: policy-based routing. Everything that vwire sets carries its protocol number. A table of ours holds a
// mark beside its routes: a `throw` route to everywhere whose metric says who owns the table. It changes nothing for a
// packet, since a lookup that finds nothing goes on with the next rule anyway, and unlike routes over an interface it stays
// when the interface goes.

import type { EncodedMessage, NetlinkMessage, NetlinkNumber } from './codec.ts';
import {
  isLittleEndian,
  NetlinkWriter,
  parseAttributes,
  readText,
  readU32,
  viewOf,
} from './codec.ts';
import {
  family,
  flag,
  messageType,
  nextHopOnLink,
  routeAttribute,
  routeScope,
  routeTableInAttribute,
  routeTypeThrow,
  routeTypeUnicast,
  ruleActionToTable,
  ruleAttribute,
  vwireProtocol,
} from './constants.ts';
import type { IpAddress, IpPrefix } from './ip-address.ts';
import { formatIp, formatPrefix, networkOf } from './ip-address.ts';
import type { PortRange } from '../ports/dataplane.ts';

type Family = IpAddress['family'];

const acknowledged = flag.request | flag.ack;
/** fib_rule_hdr: family, dst_len, src_len, tos, table, two reserved, action (u8 each), flags u32. */
const ruleHeaderLength = 12;
/** rtmsg, see address.ts. */
const routeHeaderLength = 12;

export interface Rule {
  readonly family: Family;
  /** Absent: from everywhere. */
  readonly source?: IpPrefix;
  /** Name of the interface that the packet came in by; it need not be there yet. */
  readonly incoming?: string;
  /** The packet's mark. */
  readonly mark?: number;
  readonly priority: number;
  readonly table: number;
  /** IP protocol number. */
  readonly ipProtocol?: number;
  readonly sourcePorts?: PortRange;
  readonly destinationPorts?: PortRange;
}

/** EEXIST where this very rule is there. */
export function addRule(rule: Rule): EncodedMessage {
  return ruleMessage(messageType.newRule, acknowledged | flag.create | flag.excl, rule);
}

export function deleteRule(rule: Rule): EncodedMessage {
  return ruleMessage(messageType.delRule, acknowledged, rule);
}

/** Removes the first rule like it, whoever made it. */
export function deleteAnyRule(rule: Rule): EncodedMessage {
  return ruleMessage(messageType.delRule, acknowledged, rule, false);
}

/** Of both families. */
export function dumpRules(): EncodedMessage {
  return new NetlinkWriter(messageType.getRule, flag.request | flag.dump)
    .zeros(ruleHeaderLength)
    .finish();
}

export interface FoundRule {
  readonly rule: Rule;
  readonly isOurs: boolean;
}

/** Undefined for what is no rule of IPv4 or IPv6, and for one that does not lead to a table. */
export function parseRule(message: NetlinkMessage): FoundRule | undefined {
  const { type, payload } = message;
  if (type !== messageType.newRule || payload.length < ruleHeaderLength) return undefined;
  const ruleFamily = payload[0];
  if (ruleFamily !== family.inet && ruleFamily !== family.inet6) return undefined;
  if (payload[7] !== ruleActionToTable) return undefined;
  const attributes = parseAttributes(payload, ruleHeaderLength);
  const rule: Rule = {
    family: ruleFamily,
    priority: readU32(attributes.get(ruleAttribute.priority)) ?? 0,
    table: readU32(attributes.get(ruleAttribute.table)) ?? payload[4] ?? 0,
    ...sourceOf(ruleFamily, payload[2] ?? 0, attributes.get(ruleAttribute.source)),
    ...originOf(attributes),
    ...transportOf(attributes),
  };
  return { rule, isOurs: attributes.get(ruleAttribute.protocol)?.[0] === vwireProtocol };
}

function sourceOf(
  ofFamily: Family,
  prefixLengthBits: number,
  bytes: Uint8Array | undefined,
): Pick<Rule, 'source'> {
  return bytes === undefined ? {} : { source: { family: ofFamily, bytes, prefixLengthBits } };
}

function originOf(attributes: ReadonlyMap<number, Uint8Array>): Partial<Rule> {
  const incoming = readText(attributes.get(ruleAttribute.incoming));
  const mark = readU32(attributes.get(ruleAttribute.mark)) ?? 0;
  return { ...(incoming === undefined ? {} : { incoming }), ...(mark === 0 ? {} : { mark }) };
}

function transportOf(attributes: ReadonlyMap<number, Uint8Array>): Partial<Rule> {
  const ipProtocol = attributes.get(ruleAttribute.ipProtocol)?.[0];
  const sourcePorts = readPorts(attributes.get(ruleAttribute.sourcePorts));
  const destinationPorts = readPorts(attributes.get(ruleAttribute.destinationPorts));
  return {
    ...(ipProtocol === undefined || ipProtocol === 0 ? {} : { ipProtocol }),
    ...(sourcePorts === undefined ? {} : { sourcePorts }),
    ...(destinationPorts === undefined ? {} : { destinationPorts }),
  };
}

/** A route of a policy's table over an interface. */
export interface TableRoute {
  readonly table: number;
  readonly index: NetlinkNumber;
  readonly destination: IpPrefix;
  /** Reached through the interface whether or not a prefix on it covers it; absent: the destination is on the link. */
  readonly gateway?: IpAddress;
}

export function addTableRoute(route: TableRoute): EncodedMessage {
  const flags = acknowledged | flag.create | flag.append;
  return tableRouteMessage(messageType.newRoute, flags, route);
}

export function deleteTableRoute(route: TableRoute): EncodedMessage {
  return tableRouteMessage(messageType.delRoute, acknowledged, route);
}

/** Who owns a table: `metric`, so large that every other route of the table comes first. */
export interface TableMark {
  readonly family: Family;
  readonly table: number;
  readonly metric: number;
}

export function addTableMark(mark: TableMark): EncodedMessage {
  return markMessage(messageType.newRoute, acknowledged | flag.create | flag.excl, mark);
}

export function deleteTableMark(mark: TableMark): EncodedMessage {
  return markMessage(messageType.delRoute, acknowledged, mark);
}

export interface FoundTableRoute {
  readonly family: Family;
  readonly table: number;
  readonly isOurs: boolean;
  readonly kind: 'route' | 'mark' | 'other';
  readonly index: number;
  /** In canonical text. */
  readonly prefix: string;
  readonly gateway: string | undefined;
  readonly metric: number;
}

export function parseTableRoute(message: NetlinkMessage): FoundTableRoute | undefined {
  const { type, payload } = message;
  if (type !== messageType.newRoute || payload.length < routeHeaderLength) return undefined;
  const routeFamily = payload[0];
  if (routeFamily !== family.inet && routeFamily !== family.inet6) return undefined;
  const attributes = parseAttributes(payload, routeHeaderLength);
  const length = routeFamily === family.inet ? 4 : 16;
  const destination = attributes.get(routeAttribute.destination) ?? new Uint8Array(length);
  const gateway = attributes.get(routeAttribute.gateway);
  return {
    family: routeFamily,
    table: readU32(attributes.get(routeAttribute.table)) ?? payload[4] ?? 0,
    isOurs: payload[5] === vwireProtocol,
    kind: kindOf(payload[7]),
    index: readU32(attributes.get(routeAttribute.outputInterface)) ?? 0,
    prefix: formatPrefix(destination, payload[1] ?? 0),
    gateway: gateway === undefined ? undefined : formatIp(gateway),
    metric: readU32(attributes.get(routeAttribute.priority)) ?? 0,
  };
}

function kindOf(type: number | undefined): FoundTableRoute['kind'] {
  if (type === routeTypeUnicast) return 'route';
  return type === routeTypeThrow ? 'mark' : 'other';
}

function ruleMessage(type: number, flags: number, rule: Rule, isOurs = true): EncodedMessage {
  const source = rule.source === undefined ? undefined : networkOf(rule.source);
  const writer = new NetlinkWriter(type, flags)
    .u8(rule.family)
    .u8(0)
    .u8(source?.prefixLengthBits ?? 0)
    .u8(0)
    .u8(routeTableInAttribute)
    .zeros(2)
    .u8(ruleActionToTable)
    .u32(0);
  if (source !== undefined && source.prefixLengthBits > 0) {
    writer.bytesAttribute(ruleAttribute.source, source.bytes);
  }
  if (rule.incoming !== undefined) writer.textAttribute(ruleAttribute.incoming, rule.incoming);
  if (rule.mark !== undefined) writer.u32Attribute(ruleAttribute.mark, rule.mark);
  writer.u32Attribute(ruleAttribute.priority, rule.priority);
  writer.u32Attribute(ruleAttribute.table, rule.table);
  if (isOurs) writer.u8Attribute(ruleAttribute.protocol, vwireProtocol);
  if (rule.ipProtocol !== undefined) {
    writer.u8Attribute(ruleAttribute.ipProtocol, rule.ipProtocol);
  }
  writePorts(writer, ruleAttribute.sourcePorts, rule.sourcePorts);
  writePorts(writer, ruleAttribute.destinationPorts, rule.destinationPorts);
  return writer.finish();
}

function writePorts(writer: NetlinkWriter, attribute: number, ports: PortRange | undefined): void {
  if (ports === undefined) return;
  writer.attribute(attribute, () => writer.u16(ports.first).u16(ports.last));
}

function readPorts(bytes: Uint8Array | undefined): PortRange | undefined {
  if (bytes === undefined || bytes.length < 4) return undefined;
  const view = viewOf(bytes);
  const [first, last] = [view.getUint16(0, isLittleEndian), view.getUint16(2, isLittleEndian)];
  return first === 0 && last === 0 ? undefined : { first, last };
}

function tableRouteMessage(type: number, flags: number, route: TableRoute): EncodedMessage {
  const destination = networkOf(route.destination);
  const { gateway } = route;
  const isLink = gateway === undefined && destination.family === family.inet;
  const writer = routeHeader(type, flags, {
    family: destination.family,
    lengthBits: destination.prefixLengthBits,
    scope: isLink ? routeScope.link : routeScope.universe,
    routeType: routeTypeUnicast,
    nextHopFlags: gateway === undefined ? 0 : nextHopOnLink,
  });
  if (destination.prefixLengthBits > 0) {
    writer.bytesAttribute(routeAttribute.destination, destination.bytes);
  }
  writer.u32Attribute(routeAttribute.table, route.table);
  writer.u32Attribute(routeAttribute.outputInterface, route.index);
  if (gateway !== undefined) writer.bytesAttribute(routeAttribute.gateway, gateway.bytes);
  return writer.finish();
}

function markMessage(type: number, flags: number, mark: TableMark): EncodedMessage {
  return routeHeader(type, flags, {
    family: mark.family,
    lengthBits: 0,
    scope: routeScope.universe,
    routeType: routeTypeThrow,
    nextHopFlags: 0,
  })
    .u32Attribute(routeAttribute.table, mark.table)
    .u32Attribute(routeAttribute.priority, mark.metric)
    .finish();
}

function routeHeader(
  type: number,
  flags: number,
  header: {
    readonly family: Family;
    readonly lengthBits: number;
    readonly scope: number;
    readonly routeType: number;
    readonly nextHopFlags: number;
  },
): NetlinkWriter {
  return new NetlinkWriter(type, flags)
    .u8(header.family)
    .u8(header.lengthBits)
    .u8(0)
    .u8(0)
    .u8(routeTableInAttribute)
    .u8(vwireProtocol)
    .u8(header.scope)
    .u8(header.routeType)
    .u32(header.nextHopFlags);
}
