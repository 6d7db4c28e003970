// WireGuard tunnels as VPP has them: an interface with a key pair and a UDP port of its own, and its peers.
// Invariant: no private key is read from VPP.

import type { Budget, WireguardEnd } from '../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import { hashText } from '../../protocols/nsm/derived-mac.ts';
import { encodeBase64 } from '../../protocols/spiffe/base64url.ts';
import { allOnes, wireguardPeerFlags } from '../../protocols/vpp/messages/enums.ts';
import type { DetailsFields } from '../../protocols/vpp/messages/known-messages.ts';
import { formatVppAddress, vppAddress } from '../../protocols/vpp/vpp-address.ts';
import { noneWithoutPlugin } from './missing-plugin.ts';

/** The node's own end. */
export interface WireguardPlace {
  readonly localIp: string;
  readonly localPort: number;
  /** Base64. */
  readonly publicKey: string;
}

export interface FoundPeer {
  /** `peer_index`. */
  readonly index: number;
  /** Base64. */
  readonly publicKey: string;
  /** Where it was heard last, if it was heard. */
  readonly remoteIp: string;
  readonly remotePort: number;
}

export interface FoundWireguard extends WireguardPlace {
  readonly instance: number;
  readonly peers: readonly FoundPeer[];
}

/** By `sw_if_index`. */
export async function findWireguards(
  vpp: Vpp,
  budget: Budget,
): Promise<ReadonlyMap<number, FoundWireguard>> {
  const [interfaces, peers] = await Promise.all([
    vpp.dump('wireguard_interface_dump', { sw_if_index: allOnes }, budget).catch(noneWithoutPlugin),
    vpp.dump('wireguard_peers_dump', { peer_index: allOnes }, budget).catch(noneWithoutPlugin),
  ]);
  return wireguardsOf(interfaces, peers);
}

/** One as it is now, with those of its peers that are still there; undefined where it is gone. */
export async function lookAtWireguard(
  vpp: Vpp,
  index: number,
  { known, budget }: { readonly known: FoundWireguard; readonly budget: Budget },
): Promise<FoundWireguard | undefined> {
  const [interfaces, ...peers] = await Promise.all([
    vpp.dump('wireguard_interface_dump', { sw_if_index: index }, budget),
    ...known.peers.map((peer) => peerAt(vpp, peer.index, budget)),
  ]);
  return wireguardsOf(interfaces, peers.flat()).get(index);
}

/** Whether the tunnel has agreed with its peer. */
export async function hasSession(
  vpp: Vpp,
  { peers }: FoundWireguard,
  budget: Budget,
): Promise<boolean> {
  const found = await Promise.all(peers.map(({ index }) => peerAt(vpp, index, budget)));
  return found
    .flat()
    .some(({ peer }) => ((peer.flags ?? 0) & wireguardPeerFlags.established) !== 0);
}

const peerAt = (vpp: Vpp, index: number, budget: Budget) =>
  vpp.dump('wireguard_peers_dump', { peer_index: index }, budget);

function wireguardsOf(
  interfaces: readonly DetailsFields<'wireguard_interface_dump'>[],
  peers: readonly DetailsFields<'wireguard_peers_dump'>[],
): ReadonlyMap<number, FoundWireguard> {
  return new Map(
    interfaces.map(({ interface: found }) => {
      const { sw_if_index: index = allOnes, user_instance: instance = allOnes } = found;
      const own = peers.filter(({ peer }) => peer.sw_if_index === index).map(foundPeer);
      const place = {
        localIp: formatVppAddress(found.src_ip),
        localPort: found.port,
        publicKey: encodeBase64(found.public_key ?? new Uint8Array()),
      };
      return [index, { ...place, instance, peers: own }];
    }),
  );
}

function foundPeer({ peer }: DetailsFields<'wireguard_peers_dump'>): FoundPeer {
  return {
    index: peer.peer_index ?? allOnes,
    publicKey: encodeBase64(peer.public_key),
    remoteIp: formatVppAddress(peer.endpoint),
    remotePort: peer.port,
  };
}

/** The address as VPP gives it back. */
export function wireguardPlaceOf({ localIp, localPort, publicKey }: WireguardEnd): WireguardPlace {
  return { localIp: formatVppAddress(vppAddress(localIp)), localPort, publicKey };
}

export const isSameWireguard = (one: WireguardPlace, other: WireguardPlace): boolean =>
  one.localIp === other.localIp &&
  one.localPort === other.localPort &&
  one.publicKey === other.publicKey;

const peerSeed = 0x7065;

/**
 * Of the peer that an end asks for, for its tag: VPP sends to wherever the peer was heard last, so what it says of the
 * other node does not tell what it was told.
 */
export function peerMark({ peerPublicKey, remoteIp, remotePort }: WireguardEnd): number {
  return hashText(`${peerPublicKey} ${remoteIp} ${remotePort}`, peerSeed).low & 0x7fff_ffff;
}
