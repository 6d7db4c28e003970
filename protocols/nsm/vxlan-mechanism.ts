// The VXLAN mechanism: a tunnel between the forwarders of two nodes. The client side fills in `src_*`, the server side
// `dst_*` and the VNI.
// Invariants: a VNI that we draw is never 0 (an even draw may be in the reference, and then reads as "no VNI") and has
// the parity by which two nodes that draw at the same time cannot collide.

import { type Address, orderValue, parseAddress } from '../ipam/address.ts';
import { NsmError } from '../errors.ts';
import type { Random } from '../ports/random.ts';
import type { Mechanism } from './gen/connection_pb.ts';
import {
  makeMechanism,
  mechanismClass,
  mechanismType,
  numberParameter,
  parameter,
  parameterKey,
} from './mechanism.ts';
import { readTunnelMtu } from './mtu.ts';

/** IANA's port for VXLAN (RFC 7348). */
export const vxlanPortDefault = 4789;

/** Largest VNI: 24 bits (RFC 7348). */
export const vniMax = 0xff_ffff;

/** Texts that are absent or empty and numbers that are 0 mean "not known yet". */
export interface VxlanParameters {
  readonly srcIp: string;
  readonly dstIp: string;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly vni: number;
  /** Bytes that fit through the tunnel; 0 where nobody has said. */
  readonly mtu: number;
}

/** A preference or answer; what is undefined is left out. */
export function vxlanMechanism(known: Partial<VxlanParameters>): Mechanism {
  return makeMechanism(mechanismClass.remote, mechanismType.vxlan, {
    [parameterKey.srcIp]: known.srcIp,
    [parameterKey.dstIp]: known.dstIp,
    [parameterKey.srcPort]: known.srcPort?.toString(),
    [parameterKey.dstPort]: known.dstPort?.toString(),
    [parameterKey.vni]: known.vni?.toString(),
    [parameterKey.mtu]: known.mtu?.toString(),
  });
}

/** What the mechanism says; ports that are missing are the default, other things 0 or empty. */
export function readVxlan(mechanism: Mechanism): VxlanParameters {
  const port = (key: string): number => numberParameter(mechanism, key, 65_535) || vxlanPortDefault;
  return {
    srcIp: parameter(mechanism, parameterKey.srcIp) ?? '',
    dstIp: parameter(mechanism, parameterKey.dstIp) ?? '',
    srcPort: port(parameterKey.srcPort),
    dstPort: port(parameterKey.dstPort),
    vni: numberParameter(mechanism, parameterKey.vni, vniMax),
    mtu: readTunnelMtu(mechanism),
  };
}

export type VniParity = 'even' | 'odd';

/**
 * The parity of a VNI that the server draws: even where source <= destination bytewise, odd otherwise. The addresses
 * before a proxy's translation count where their keys exist; a key that exists but is empty counts as a missing
 * address. Missing source: even; missing destination: odd (so across domains, where proxies leave the original
 * destination empty, VNIs are odd).
 */
export function vniParity(mechanism: Mechanism): VniParity {
  const source = originalOr(mechanism, parameterKey.origSrcIp, parameterKey.srcIp);
  if (source === undefined) return 'even';
  const destination = originalOr(mechanism, parameterKey.origDstIp, parameterKey.dstIp);
  if (destination === undefined) return 'odd';
  return orderValue(source) <= orderValue(destination) ? 'even' : 'odd';
}

function originalOr(mechanism: Mechanism, original: string, plain: string): Address | undefined {
  return parseAddress(parameter(mechanism, original) ?? parameter(mechanism, plain) ?? '');
}

/** Random draws before every VNI is tried in turn; with half of them taken the chance of needing that is 2^-64. */
const randomDraws = 64;

/** How many VNIs of one parity there are, 0 left out on the even side. */
const vnisOf = { even: (vniMax - 1) / 2, odd: (vniMax + 1) / 2 } as const;

/** A VNI of this parity that is not taken. Throws RESOURCE_EXHAUSTED where all are. */
export function drawVni(
  parity: VniParity,
  random: Random,
  isTaken: (vni: number) => boolean,
): number {
  const count = vnisOf[parity];
  const nth = (index: number): number => (index % count) * 2 + (parity === 'even' ? 2 : 1);
  let index = 0;
  for (let draw = 0; draw < randomDraws; draw += 1) {
    index = random.integer(count);
    if (!isTaken(nth(index))) return nth(index);
  }
  for (let step = 1; step < count; step += 1) {
    if (!isTaken(nth(index + step))) return nth(index + step);
  }
  throw new NsmError('RESOURCE_EXHAUSTED', `every ${parity} VNI towards this source is taken`, {
    rule: 'vni',
    expected: `fewer than ${count} tunnels from one source`,
    found: `${count}`,
  });
}
