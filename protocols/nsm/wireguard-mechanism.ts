// The WIREGUARD mechanism: an encrypted tunnel for IP between the forwarders of two nodes, a key pair per connection and
// side. `src_public_key` and `dst_public_key` are base64 of the 32 bytes; both ends listen on UDP 51820 unless they say
// otherwise. What both data planes take for granted: the peer may send from and to any address, keepalive every 10 s
// (reference, 15.3).

import { decodeBase64 } from '../spiffe/base64url.ts';
import type { Mechanism } from './gen/connection_pb.ts';
import {
  type KeyedTunnel,
  type KeyedTunnelKind,
  makeKeyedTunnel,
  readKeyedTunnel,
} from './keyed-tunnel.ts';
import { mechanismType } from './mechanism.ts';

/** Where the reference's forwarders listen. */
export const wireguardPort = 51_820;

/** Curve25519 (RFC 7748). */
const keyBytes = 32;

const wireguard: KeyedTunnelKind = {
  type: mechanismType.wireguard,
  port: wireguardPort,
  keyExpected: `a public key: base64 of ${keyBytes} bytes, not all zero`,
  whyNoKey(text) {
    const bytes = decodeBase64(text);
    if (bytes === undefined) return `${text.length} characters that are no base64`;
    if (bytes.length !== keyBytes) return `base64 of ${bytes.length} bytes`;
    return bytes.every((byte) => byte === 0) ? 'zeros' : undefined;
  },
};

/** A preference or answer; what is undefined is left out. */
export const wireguardMechanism = (known: Partial<KeyedTunnel>): Mechanism =>
  makeKeyedTunnel(wireguard, known);

/** What the mechanism says so far. Throws INVALID_ARGUMENT naming the parameter. */
export const readWireguard = (mechanism: Mechanism): KeyedTunnel =>
  readKeyedTunnel(wireguard, mechanism);
