// A wire's WireGuard tunnel as the kernel has it: a device of its own in the node's namespace, where its UDP socket is, with
// one peer. NSM concept: the WIREGUARD mechanism.
// Invariants: setting what is there ends no session; no private key is read from the kernel.

import type { NetlinkNumber } from '../../protocols/netlink/codec.ts';
import type { LinkEnd } from '../../protocols/netlink/check-wire.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { parseIp } from '../../protocols/netlink/ip-address.ts';
import {
  dumpWireguard,
  type FoundWireguard,
  parseWireguard,
  setWireguard,
} from '../../protocols/netlink/wireguard.ts';
import type { WireguardEnd } from '../../protocols/ports/dataplane.ts';
import type { NetlinkAnswer, NetlinkStep } from '../../protocols/ports/netlink.ts';
import { decodeBase64, encodeBase64 } from '../../protocols/spiffe/base64url.ts';
import type { ProgramBuilder } from './program-builder.ts';
import type { PlanContext, WireguardUse } from './wire-plan.ts';

export interface TunnelChange {
  readonly index: NetlinkNumber;
  readonly end: WireguardEnd;
  /** What the device was made for, where it is kept. */
  readonly kept?: LinkEnd | undefined;
}

/** Keys, port and peer, whatever of them is there already: nobody tells when somebody changes them. */
export function setTunnel(
  program: ProgramBuilder,
  { wireguard }: PlanContext,
  { index, end, kept }: TunnelChange,
): void {
  // Who asks for such an end has been told whether there are any.
  if (wireguard === undefined) return;
  const before = kept?.kind === 'wireguard' ? kept : undefined;
  const isOtherPeer = before?.peerPublicKey !== end.peerPublicKey;
  const message = messageFor(wireguard, index, end, isOtherPeer);
  const isKnown = before !== undefined && before.peerPublicKey !== '';
  const undo =
    !isKnown || isSameTunnel(before, end)
      ? undefined
      : [messageFor(wireguard, index, before, isOtherPeer)];
  program.addGeneric(`set the WireGuard tunnel to ${end.remoteIp}`, message, { undo });
}

function messageFor(
  { family, secrets }: WireguardUse,
  index: NetlinkNumber,
  end: WireguardEnd,
  isOtherPeer: boolean,
) {
  const { keyName, localPort, peerPublicKey, remoteIp, remotePort } = end;
  const publicKey = decodeBase64(peerPublicKey) ?? new Uint8Array();
  return setWireguard(family, index, {
    privateKey: secrets.wireguardPrivateKey(keyName),
    listenPort: localPort,
    peer: { publicKey, ip: parseIp(remoteIp), port: remotePort },
    isOtherPeer,
  });
}

const isSameTunnel = (one: WireguardEnd, other: WireguardEnd): boolean =>
  one.keyName === other.keyName &&
  one.localPort === other.localPort &&
  one.peerPublicKey === other.peerPublicKey &&
  one.remoteIp === other.remoteIp &&
  one.remotePort === other.remotePort;

/** The step that reads a device; one that is gone has no answer. */
export function tunnelReading(family: number, index: number): NetlinkStep {
  const request = {
    message: dumpWireguard(family, index),
    what: `read WireGuard device ${index}`,
    tolerate: [errno.noDevice, errno.notSupported],
  };
  return { protocol: 'generic', requests: [request] };
}

/** What the answers to `tunnelReading` say. */
export function tunnelIn(
  answers: readonly NetlinkAnswer[] | undefined,
): FoundWireguard | undefined {
  return parseWireguard(answers?.[0]?.messages ?? []);
}

/** The end that the device was made for, so far as it says; without the peer where it has none, or several. */
export function tunnelEndOf(
  found: FoundWireguard,
  wanted: WireguardEnd,
  remote: { readonly remoteIp?: string; readonly remotePort?: number },
): WireguardEnd {
  const [peer, ...more] = found.peers;
  return {
    ...wanted,
    localPort: found.listenPort,
    publicKey: encodeBase64(found.publicKey),
    remoteIp: remote.remoteIp ?? wanted.remoteIp,
    remotePort: remote.remotePort ?? wanted.remotePort,
    peerPublicKey: peer === undefined || more.length > 0 ? '' : encodeBase64(peer.publicKey),
  };
}

/** Whether it sends to its one peer, whoever that is; with `end`, to the peer of that, from its own key and port. */
export function sendsToPeer(found: FoundWireguard | undefined, end?: WireguardEnd): boolean {
  const [peer, ...more] = found?.peers ?? [];
  if (found === undefined || peer === undefined || more.length > 0) return false;
  // One prefix of each family.
  if (peer.endpoint === undefined || peer.allowedIpCount < 2) return false;
  if (end === undefined) return true;
  return (
    encodeBase64(peer.publicKey) === end.peerPublicKey &&
    encodeBase64(found.publicKey) === end.publicKey &&
    found.listenPort === end.localPort
  );
}
