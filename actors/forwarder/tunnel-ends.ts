// The ends of a wire that leave the node, from what was agreed on: pure. The mechanism's source is the node nearer to the
// client: on the client side of the wire this node is the destination.
// Invariant: an end is made with the keys that the mechanism names, or not at all.

import { NsmError } from '../../protocols/errors.ts';
import type { Mechanism } from '../../protocols/nsm/gen/connection_pb.ts';
import { ipsecIdentity, readIpsec } from '../../protocols/nsm/ipsec-mechanism.ts';
import type { KeyedTunnel } from '../../protocols/nsm/keyed-tunnel.ts';
import { parameterKey } from '../../protocols/nsm/mechanism.ts';
import { readVxlan } from '../../protocols/nsm/vxlan-mechanism.ts';
import { readWireguard } from '../../protocols/nsm/wireguard-mechanism.ts';
import type { IpsecEnd, VxlanEnd, WireguardEnd } from '../../protocols/ports/dataplane.ts';
import type { TunnelKeys } from '../../protocols/ports/tunnel-keys.ts';

export type Side = 'client' | 'endpoint';

export interface TunnelInput {
  readonly mechanism: Mechanism;
  readonly side: Side;
  /** Of the wire. */
  readonly connectionId: string;
  /** Behind which the wire goes on; '' where that is not known. */
  readonly nextName: string;
  readonly keys: TunnelKeys | undefined;
  /** Of the client and of the Endpoint, in CIDR form. */
  readonly addresses: {
    readonly source: readonly string[];
    readonly destination: readonly string[];
  };
  /** Component name, for errors. */
  readonly hop: string;
}

/**
 * The key pair of one end. Towards another next hop there is another one, so that a retarget has both tunnels for a while
 * and no peer ever sees the same key from two of them.
 */
export function ownKeyName(
  connectionId: string,
  side: Side,
  nextName: string | undefined = '',
): string {
  return JSON.stringify(side === 'client' ? [connectionId, side] : [connectionId, side, nextName]);
}

export function vxlanEnd(input: TunnelInput): VxlanEnd {
  const read = readVxlan(input.mechanism);
  const { srcIp, dstIp, vni } = read;
  requireKnown(input, { src_ip: srcIp, dst_ip: dstIp, vni: vni === 0 ? '' : String(vni) });
  return { kind: 'vxlan', ...addressesOf(input.side, read), vni };
}

/** Errors: INVALID_ARGUMENT (a parameter), FAILED_PRECONDITION (the own key is another one now). */
export function wireguardEnd(input: TunnelInput): WireguardEnd {
  const { side, connectionId, nextName, keys } = input;
  const read = wholeKeyedTunnel(input, readWireguard(input.mechanism));
  const keyName = ownKeyName(connectionId, side, nextName);
  const [publicKey, peerPublicKey] = ownAndPeer(side, read);
  requireOwn(input, publicKey, keys?.wireguardPublicKey(keyName));
  return { kind: 'wireguard', ...addressesOf(side, read), keyName, publicKey, peerPublicKey };
}

/** Errors: as of `wireguardEnd`. */
export function ipsecEnd(input: TunnelInput): IpsecEnd {
  const { side, connectionId, nextName, keys, addresses } = input;
  const read = wholeKeyedTunnel(input, readIpsec(input.mechanism));
  const [certificate, peerCertificate] = ownAndPeer(side, read);
  requireOwn(
    input,
    certificate,
    keys?.ipsecCertificate?.(ownKeyName(connectionId, side, nextName)),
  );
  const [source, destination] = [addresses.source, addresses.destination].map(lastAddress);
  const [nearAddress = '', farAddress = ''] =
    side === 'client' ? [destination, source] : [source, destination];
  return {
    kind: 'ipsec',
    ...addressesOf(side, read),
    certificate,
    peerCertificate,
    identity: ipsecIdentity(certificate),
    peerIdentity: ipsecIdentity(peerCertificate),
    nearAddress,
    farAddress,
    initiates: side === 'endpoint',
  };
}

/** As the reference, which tells VPP each, and VPP keeps the last. */
const lastAddress = (all: readonly string[]): string => all.at(-1)?.replace(/\/.*/, '') ?? '';

function addressesOf(
  side: Side,
  { srcIp, srcPort, dstIp, dstPort }: Pick<KeyedTunnel, 'srcIp' | 'srcPort' | 'dstIp' | 'dstPort'>,
) {
  const source = { ip: srcIp, port: srcPort };
  const destination = { ip: dstIp, port: dstPort };
  const [local, remote] = side === 'client' ? [destination, source] : [source, destination];
  return {
    localIp: local.ip,
    localPort: local.port,
    remoteIp: remote.ip,
    remotePort: remote.port,
  };
}

const ownAndPeer = (side: Side, { srcPublicKey, dstPublicKey }: KeyedTunnel) =>
  side === 'client' ? ([dstPublicKey, srcPublicKey] as const) : [srcPublicKey, dstPublicKey];

function wholeKeyedTunnel(input: TunnelInput, read: KeyedTunnel): KeyedTunnel {
  requireKnown(input, {
    [parameterKey.srcIp]: read.srcIp,
    [parameterKey.dstIp]: read.dstIp,
    [parameterKey.srcPublicKey]: read.srcPublicKey,
    [parameterKey.dstPublicKey]: read.dstPublicKey,
  });
  return read;
}

function requireKnown(input: TunnelInput, known: Readonly<Record<string, string>>): void {
  const lacks = Object.keys(known).find((key) => known[key] === '');
  if (lacks !== undefined) throw lacking(input, `parameter ${lacks}`);
}

export function lacking(
  { mechanism, side, connectionId, hop }: Omit<TunnelInput, 'keys' | 'nextName' | 'addresses'>,
  expected: string,
): NsmError {
  return new NsmError('INVALID_ARGUMENT', `the ${mechanism.type} mechanism lacks a parameter`, {
    hop,
    rule: `${side} mechanism`,
    expected,
    found: Object.keys(mechanism.parameters).join(', ') || 'no parameters',
    connectionId,
  });
}

/** The peer answers to the key that was agreed on, and to no other. */
function requireOwn(input: TunnelInput, agreed: string, own: string | undefined): void {
  if (agreed === own) return;
  const { mechanism, side, hop, connectionId } = input;
  throw new NsmError('FAILED_PRECONDITION', `the ${mechanism.type} tunnel has another own key`, {
    hop,
    rule: `own key of the ${side} side`,
    expected: own === undefined ? 'none: this forwarder has no keys' : start(own),
    found: start(agreed),
    remedy: 'the next refresh agrees on the key that is there now',
    connectionId,
  });
}

/** Enough of a public key to tell it from others. */
const start = (key: string): string => (key.length > 44 ? `${key.slice(0, 44)}…` : key);
