// Whether a wire can be made at all, before anything is touched: each broken rule is one clear error.

import { NsmError } from '../errors.ts';
import { family } from './constants.ts';
import { parseIp, parseMac, parsePrefix } from './ip-address.ts';
import {
  interfaceGoneRule,
  type IpsecEnd,
  type KernelEnd,
  type MemifEnd,
  type PortRange,
  type VxlanEnd,
  type WireEnd,
  type WireguardEnd,
  type Wire,
  type WirePolicy,
} from '../ports/dataplane.ts';

const encoder = new TextEncoder();
/** IFNAMSIZ of linux/if.h less the closing NUL. */
const interfaceNameLengthMax = 15;
/** ETH_MIN_MTU, and the least that IPv6 works with (RFC 8200). */
const mtuMin = 68;
const mtuMinIpv6 = 1280;
const mtuMax = 65535;
const vniMax = 0xffffff;
/** 0 and 4095 are reserved (IEEE 802.1Q). */
const vlanIdMax = 4094;
const listLengthMax = 4096;
/** Each costs a rule that every packet of the workload may have to pass. */
const policiesMax = 1024;

function refuse(rule: string, expected: string, found: string, remedy?: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', `the wire's ${rule} is not possible`, {
    rule,
    expected,
    found,
    ...(remedy === undefined ? {} : { remedy }),
  });
}

/** What a driver makes beside ends of the kinds `kernel` and `vxlan`. */
export interface DriverReach {
  readonly vlans?: boolean;
  /** Ends of the kind `kernel` whose frames the workload tags. */
  readonly taggedFrames?: boolean;
  readonly memif?: boolean;
  readonly wireguard?: boolean;
  readonly ipsec?: boolean;
  /** `DataplaneCapabilities.missing`: what it says of a mechanism goes into the refusal. */
  readonly missing?: readonly string[];
}

/** Throws INVALID_ARGUMENT where no kernel could do it, UNIMPLEMENTED where this driver does not, or nobody does. */
export function checkWire(wire: Wire, can: DriverReach = {}): void {
  if (wire.id === '') throw refuse('id', 'a path segment id', 'nothing');
  const usesIpv6 = [wire.client, wire.endpoint].some(hasIpv6);
  const least = usesIpv6 ? mtuMinIpv6 : mtuMin;
  if (wire.mtu !== 0 && !isWithin(wire.mtu, least, mtuMax)) {
    throw refuse('MTU', `0 or ${least} to ${mtuMax} bytes`, `${wire.mtu}`);
  }
  checkEnd(wire.client, can);
  checkEnd(wire.endpoint, can);
  checkPackets(wire, can);
}

/** Of an end without Ethernet headers. */
export const carriesPackets = (end: { readonly kind: string; readonly mode?: string }): boolean =>
  end.kind === 'wireguard' || end.kind === 'ipsec' || (end.kind === 'memif' && end.mode === 'ip');

const packetNames: Readonly<Record<string, string>> = {
  wireguard: 'WireGuard',
  ipsec: 'IPsec',
  memif: 'a memif for payload IP',
};

/** What has no Ethernet headers carries IP, between ends that can be reached without asking for neighbours. */
function checkPackets({ id, payload, client, endpoint }: Wire, can: DriverReach): void {
  const ends = [client, endpoint];
  const of = ends.find(carriesPackets);
  if (of === undefined) return;
  const other = ends.find((end) => !carriesPackets(end) && end.kind !== 'kernel');
  if (payload === 'IP' && other === undefined) return;
  const name = packetNames[of.kind] ?? of.kind;
  const fitting = kindsOf(can).filter((kind) => kind !== 'vxlan' && kind !== 'vlan');
  throw new NsmError('UNIMPLEMENTED', `${name} carries IP packets and no Ethernet frames`, {
    rule: payload === 'IP' ? 'mechanism' : 'payload',
    expected: payload === 'IP' ? `one of ${fitting.join(', ')} at the other end` : 'payload IP',
    found: payload === 'IP' ? `${other?.kind}` : `payload ${payload}`,
    remedy: 'use VXLAN, which carries frames',
    connectionId: id,
  });
}

/** Throws FAILED_PRECONDITION where an interface of a workload is not there and the wire says that none is made. */
export function checkInterfaces(
  { id, makesInterfaces = true, ...wire }: Wire,
  isThere: (side: 'client' | 'endpoint') => boolean,
): void {
  if (makesInterfaces) return;
  for (const side of ['client', 'endpoint'] as const) {
    const end = wire[side];
    if (end.kind !== 'kernel' || isThere(side)) continue;
    throw new NsmError('FAILED_PRECONDITION', 'an interface of the wire is gone', {
      rule: interfaceGoneRule,
      expected: `${end.interfaceName} in ${end.netns}`,
      found: 'no link of this wire that leads there',
      connectionId: id,
    });
  }
}

function hasIpv6(end: WireEnd): boolean {
  return end.kind === 'kernel' && end.addresses.some((address) => address.includes(':'));
}

function isWithin(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

function checkEnd(end: WireEnd, can: DriverReach): void {
  switch (end.kind) {
    case 'kernel':
      checkKernelEnd(end);
      if (end.vlanId !== undefined) checkVlan(end.vlanId, can.taggedFrames, can);
      return;
    case 'vlan':
      checkVlan(end.vlanId, can.vlans, can);
      return;
    case 'vxlan':
      checkVxlanEnd(end);
      return;
    case 'memif':
      if (can.memif !== true) throw unmade(end.kind, can);
      checkMemifEnd(end);
      return;
    case 'wireguard':
    case 'ipsec':
      if (can[end.kind] !== true) throw unmade(end.kind, can);
      checkTunnelAddresses(end);
      return;
    default:
      throw unmade(String((end as { kind: unknown }).kind), can);
  }
}

function unmade(kind: string, can: DriverReach): NsmError {
  const start = `${kind.toUpperCase()}: `;
  const reason = can.missing?.find((line) => line.startsWith(start))?.slice(start.length);
  return new NsmError('UNIMPLEMENTED', `this data plane makes no end of kind ${kind}`, {
    rule: 'mechanism',
    expected: `one of ${kindsOf(can).join(', ')}`,
    found: reason === undefined ? kind : `${kind}: ${reason}`,
    remedy: 'use a forwarder over a data plane that has it, such as VPP',
  });
}

const kindsOf = ({ vlans, memif, wireguard, ipsec }: DriverReach): string[] =>
  Object.entries({ kernel: true, vxlan: true, vlan: vlans, memif, wireguard, ipsec })
    .filter(([, isMade]) => isMade === true)
    .map(([kind]) => kind);

function checkVlan(vlanId: number, isMade: boolean | undefined, can: DriverReach): void {
  if (isMade !== true) {
    throw new NsmError('UNIMPLEMENTED', 'this data plane makes no end in such a VLAN', {
      rule: 'mechanism',
      expected: `one of ${kindsOf(can).join(', ')}, without a VLAN`,
      found: `VLAN ${vlanId}`,
      remedy: 'use the forwarder over Open vSwitch, or for the mechanism VLAN over VPP',
    });
  }
  if (!isWithin(vlanId, 1, vlanIdMax)) throw refuse('VLAN id', `1 to ${vlanIdMax}`, `${vlanId}`);
}

/** What was agreed on has been read; this is for whoever makes an end of their own. */
function checkMemifEnd({ socket }: MemifEnd): void {
  if (socket.kind === 'file' || socket.name.startsWith('@')) return;
  throw refuse('memif socket', 'the name of an abstract socket, "@" first', socket.name);
}

function checkKernelEnd(end: KernelEnd): void {
  checkInterfaceName(end.interfaceName);
  parseMac(end.macAddress);
  const lists = [end.addresses, end.routes, end.neighbors];
  if (lists.some((list) => list.length > listLengthMax)) {
    const longest = Math.max(...lists.map((list) => list.length));
    throw refuse('context', `lists of at most ${listLengthMax}`, `${longest} entries`);
  }
  for (const address of end.addresses) parsePrefix(address);
  for (const route of end.routes) {
    parsePrefix(route.prefix);
    if (route.gateway !== undefined) parseIp(route.gateway);
  }
  for (const neighbor of end.neighbors) {
    parseIp(neighbor.ip);
    parseMac(neighbor.macAddress);
  }
  const policies = end.policies ?? [];
  if (policies.length > policiesMax) {
    throw refuse('policies', `at most ${policiesMax}`, `${policies.length}`);
  }
  policies.forEach(checkPolicy);
}

function checkPolicy(policy: WirePolicy, index: number): void {
  const rule = `policy ${index + 1}`;
  const [first] = policy.routes;
  if (first === undefined) throw refuse(rule, 'at least one route', 'none');
  const wanted = parsePrefix(policy.from ?? first.prefix).family;
  for (const { prefix, gateway } of policy.routes) {
    const families = [prefix, ...(gateway === undefined ? [] : [`${gateway}`])].map(
      (text) => parsePrefix(text).family,
    );
    if (families.every((each) => each === wanted)) continue;
    throw refuse(rule, 'one address family', `from ${policy.from}, route ${prefix} via ${gateway}`);
  }
  const { ipProtocol = 0, sourcePorts, destinationPorts } = policy;
  if (!isWithin(ipProtocol, 0, 255)) throw refuse(rule, 'protocol 0 to 255', `${ipProtocol}`);
  for (const ports of [sourcePorts, destinationPorts]) checkPorts(rule, ports);
}

function checkPorts(rule: string, ports: PortRange | undefined): void {
  if (ports === undefined) return;
  const { first, last } = ports;
  if (isWithin(first, 1, 65535) && isWithin(last, first, 65535)) return;
  throw refuse(rule, 'ports 1 to 65535, the first not above the last', `${first}-${last}`);
}

/** Letters, digits, "-" and "_", as nearly all names are: nothing else needs to be looked at. */
function isPlainName(name: string): boolean {
  if (name.length === 0 || name.length > interfaceNameLengthMax) return false;
  for (let at = 0; at < name.length; at += 1) {
    const unit = name.charCodeAt(at);
    if (!isLetterOrDigit(unit) && unit !== 0x2d && unit !== 0x5f) return false;
  }
  return true;
}

/** Of ASCII. */
export function isLetterOrDigit(unit: number): boolean {
  // Letters in lower case differ from those in upper case by this bit.
  const lower = unit | 0x20;
  return (unit >= 0x30 && unit <= 0x39) || (lower >= 0x61 && lower <= 0x7a);
}

/** The rules of dev_valid_name() in the kernel, and a word on the length that people run into. */
export function checkInterfaceName(name: string): void {
  if (isPlainName(name)) return;
  const length = encoder.encode(name).length;
  if (length > interfaceNameLengthMax) {
    throw refuse(
      'interface name',
      `at most ${interfaceNameLengthMax} bytes`,
      `${JSON.stringify(name)}, ${length} bytes`,
      'choose a shorter name; Linux allows no more',
    );
  }
  // eslint-disable-next-line no-control-regex
  if (name === '' || name === '.' || name === '..' || /[\s/:\0]/.test(name)) {
    throw refuse(
      'interface name',
      'no white space, slash, colon, "." or ".."',
      JSON.stringify(name),
    );
  }
}

function checkVxlanEnd(end: VxlanEnd): void {
  if (!isWithin(end.vni, 1, vniMax)) throw refuse('VNI', `1 to ${vniMax}`, `${end.vni}`);
  checkTunnelAddresses(end);
}

function checkTunnelAddresses(end: VxlanEnd | WireguardEnd | IpsecEnd): void {
  for (const port of [end.localPort, end.remotePort]) {
    if (!isWithin(port, 1, 65535)) throw refuse('UDP port', '1 to 65535', `${port}`);
  }
  const local = parseIp(end.localIp);
  const remote = parseIp(end.remoteIp);
  if (local.family !== remote.family) {
    throw refuse('tunnel addresses', 'one address family', `${end.localIp}, ${end.remoteIp}`);
  }
  const isMulticast =
    remote.family === family.inet ? (remote.bytes[0] ?? 0) >= 224 : remote.bytes[0] === 0xff;
  if (isMulticast) throw refuse('remote address', 'a unicast address', end.remoteIp);
}

/** An end that needs a device of the kernel. */
export type LinkEnd = KernelEnd | VxlanEnd | WireguardEnd;

/** The end, of a wire that has been checked for kinds that the kernel does not make. */
export function linkEndOf(wire: Wire, side: 'client' | 'endpoint'): LinkEnd {
  const end = wire[side];
  const { kind } = end;
  if (kind === 'kernel' || kind === 'vxlan' || kind === 'wireguard') return end;
  throw new NsmError('INTERNAL', `the ${side} of wire ${wire.id} is no link`, { found: end.kind });
}
