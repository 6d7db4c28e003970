// What WIREGUARD and IPSEC have in common on the wire: two addresses, two UDP ports, what each end proves itself by, and
// the MTU. The client side fills in `src_*`, the server side `dst_*`.
// Invariants: what is absent, empty or 0 is "not known yet"; an address or a key that is there and no good is refused.

import { parseAddress } from '../ipam/address.ts';
import { NsmError } from '../errors.ts';
import type { Mechanism } from './gen/connection_pb.ts';
import {
  makeMechanism,
  mechanismClass,
  type mechanismType,
  numberParameter,
  parameter,
  parameterKey,
} from './mechanism.ts';
import { readTunnelMtu } from './mtu.ts';

/** Texts that are empty and an MTU of 0 mean "not known yet". */
export interface KeyedTunnel {
  readonly srcIp: string;
  readonly dstIp: string;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly srcPublicKey: string;
  readonly dstPublicKey: string;
  /** Bytes that fit through the tunnel; 0 where nobody has said. */
  readonly mtu: number;
}

/** What one of the two mechanisms has of its own. */
export interface KeyedTunnelKind {
  readonly type: typeof mechanismType.wireguard | typeof mechanismType.ipsec;
  /** UDP port of an end that names none. */
  readonly port: number;
  /** For people. */
  readonly keyExpected: string;
  /** Undefined where the text is such a key; else what it is instead, in words, since it may be a secret by mistake. */
  readonly whyNoKey: (text: string) => string | undefined;
}

/** A preference or answer; what is undefined is left out. */
export function makeKeyedTunnel(kind: KeyedTunnelKind, known: Partial<KeyedTunnel>): Mechanism {
  return makeMechanism(mechanismClass.remote, kind.type, {
    [parameterKey.srcIp]: known.srcIp,
    [parameterKey.dstIp]: known.dstIp,
    [parameterKey.srcPort]: known.srcPort?.toString(),
    [parameterKey.dstPort]: known.dstPort?.toString(),
    [parameterKey.srcPublicKey]: known.srcPublicKey,
    [parameterKey.dstPublicKey]: known.dstPublicKey,
    [parameterKey.mtu]: known.mtu?.toString(),
  });
}

/** Throws INVALID_ARGUMENT naming the parameter. Ports that are missing are the default. */
export function readKeyedTunnel(kind: KeyedTunnelKind, mechanism: Mechanism): KeyedTunnel {
  const port = (key: string): number => numberParameter(mechanism, key, 65_535) || kind.port;
  const read: KeyedTunnel = {
    srcIp: readIp(mechanism, parameterKey.srcIp),
    dstIp: readIp(mechanism, parameterKey.dstIp),
    srcPort: port(parameterKey.srcPort),
    dstPort: port(parameterKey.dstPort),
    srcPublicKey: readKey(kind, mechanism, parameterKey.srcPublicKey),
    dstPublicKey: readKey(kind, mechanism, parameterKey.dstPublicKey),
    mtu: readTunnelMtu(mechanism),
  };
  checkPair(mechanism, read);
  return read;
}

function readIp(mechanism: Mechanism, key: string): string {
  const text = parameter(mechanism, key) ?? '';
  if (text === '' || parseAddress(text) !== undefined) return text;
  throw refuse(mechanism, key, 'an IPv4 or IPv6 address without zone', text.slice(0, 64));
}

function readKey(kind: KeyedTunnelKind, mechanism: Mechanism, key: string): string {
  const text = parameter(mechanism, key) ?? '';
  const why = text === '' ? undefined : kind.whyNoKey(text);
  if (why === undefined) return text;
  throw refuse(mechanism, key, kind.keyExpected, why);
}

/** Both ends of one tunnel, so far as they are known. */
function checkPair(mechanism: Mechanism, read: KeyedTunnel): void {
  const [source, destination] = [read.srcIp, read.dstIp].map((text) => parseAddress(text)?.family);
  if (source !== undefined && destination !== undefined && source !== destination) {
    const found = `${read.srcIp} and ${read.dstIp}`;
    throw refuse(mechanism, parameterKey.dstIp, `IPv${source}, as ${parameterKey.srcIp}`, found);
  }
  if (read.srcPublicKey !== '' && read.srcPublicKey === read.dstPublicKey) {
    const { srcPublicKey, dstPublicKey } = parameterKey;
    throw refuse(mechanism, dstPublicKey, `another one than ${srcPublicKey}`, 'the same');
  }
}

function refuse({ type }: Mechanism, key: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', `a parameter of the ${type} mechanism is no good`, {
    rule: `mechanism.parameters.${key}`,
    expected,
    found,
  });
}
