// IPsec tunnels as VPP has them: an interface, and a profile from which IKEv2 agrees with the other node on its keys.
// Invariants: the interface is up exactly while both ends have agreed, which is VPP's to say; identities differ from tunnel
// to tunnel, since VPP finds a profile by them and ends an agreement when another one has the same.

import { hashText } from '../../protocols/nsm/derived-mac.ts';
import { ipsecIdentity } from '../../protocols/nsm/ipsec-mechanism.ts';
import type { Budget, IpsecEnd } from '../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import {
  ikeAuthMethod,
  ikeEncryption,
  ikeGroup,
  ikeIntegrity,
} from '../../protocols/vpp/messages/crypto-messages.ts';
import { allOnes } from '../../protocols/vpp/messages/enums.ts';
import type { DetailsFields } from '../../protocols/vpp/messages/known-messages.ts';
import { formatVppAddress, vppAddress } from '../../protocols/vpp/vpp-address.ts';
import { noneWithoutPlugin } from './missing-plugin.ts';
import { type EndTag, formatEndTag, type Owner } from './tags.ts';

export type FoundProfile = DetailsFields<'ikev2_profile_dump'>['profile'];

export interface FoundIpsec {
  readonly instance: number;
  /** Those that agree on keys for this interface. */
  readonly profiles: readonly FoundProfile[];
}

/** What VPP is to know for one tunnel. */
export interface ToldProfile {
  readonly name: string;
  readonly end: IpsecEnd;
  /** `sw_if_index` of the tunnel. */
  readonly tunnel: number;
  /** `sw_if_index` of the interface that has the node's own address; of who begins alone. */
  readonly underlay: number | undefined;
}

/** By `sw_if_index`. */
export async function findIpsecs(
  vpp: Vpp,
  budget: Budget,
  index: number = allOnes,
): Promise<ReadonlyMap<number, FoundIpsec>> {
  const [interfaces, profiles] = await Promise.all([
    vpp.dump('ipsec_itf_dump', { sw_if_index: index }, budget).catch(noneWithoutPlugin),
    findProfiles(vpp, budget),
  ]);
  return new Map(
    interfaces.map(({ itf }) => [
      itf.sw_if_index,
      {
        instance: itf.user_instance,
        profiles: profiles.filter(({ tun_itf: tunnel }) => tunnel === itf.sw_if_index),
      },
    ]),
  );
}

/** Whoever's they are. */
export async function findProfiles(vpp: Vpp, budget: Budget): Promise<readonly FoundProfile[]> {
  const found = await vpp.dump('ikev2_profile_dump', {}, budget).catch(noneWithoutPlugin);
  return found.map(({ profile }) => profile);
}

/** What both ends of NSM take for granted (reference, 15.4): IKE and ESP, sizes in bits, times in seconds. */
export const ikeTransforms = {
  crypto_alg: ikeEncryption.aesCbc,
  crypto_key_size: 256,
  integ_alg: ikeIntegrity.sha1,
  dh_group: ikeGroup.modp2048,
} as const;
export const espTransforms = {
  crypto_alg: ikeEncryption.aesCbc,
  crypto_key_size: 256,
  integ_alg: ikeIntegrity.sha1,
} as const;
export const saLifetime = {
  lifetime: 3600n,
  lifetime_jitter: 10,
  handover: 5,
  lifetime_maxdata: 0n,
} as const;

const tunnelSeed = 0x6970;
const peerSeed = 0x696b;

/** Of the tunnel, for its tag: another one stands beside it while a wire turns over. */
export function tunnelMark({ identity, localIp, remoteIp }: IpsecEnd): number {
  return hashText(`${identity} ${localIp} ${remoteIp}`, tunnelSeed).low & 0x7fff_ffff;
}

/** A profile has no tag, so its name is one, with whom it is for. */
export function profileName(owner: Owner, tag: EndTag, { peerCertificate }: IpsecEnd): string {
  const link = hashText(peerCertificate, peerSeed).low & 0x7fff_ffff;
  return formatEndTag(owner, { ...tag, link });
}

/** Of an address, or any: first and last. */
export function selectorRange(address: string, family: 4 | 6): readonly [string, string] {
  if (address !== '') return [address, address];
  return family === 4
    ? ['0.0.0.0', '255.255.255.255']
    : ['::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'];
}

export const selectorPorts = { protocol_id: 0, start_port: 0, end_port: 65_535 } as const;

/** The family of what is not named follows from what is. */
export function selectorsOf({ nearAddress, farAddress }: IpsecEnd) {
  const family = `${nearAddress}${farAddress}`.includes(':') ? 6 : 4;
  return {
    near: selectorRange(nearAddress, family),
    far: selectorRange(farAddress, family),
  };
}

/** But for the peer's certificate. */
export function isToldSame(found: FoundProfile, told: ToldProfile): boolean {
  const { end, tunnel, underlay = allOnes } = told;
  const { near, far } = selectorsOf(end);
  const same =
    found.tun_itf === tunnel &&
    found.udp_encap &&
    found.auth.method === ikeAuthMethod.rsaSignature &&
    isSameIdentity(found.loc_id.data, end.identity) &&
    isSameSelector(found.loc_ts, near) &&
    isSameSelector(found.rem_ts, far) &&
    found.responder.sw_if_index === underlay;
  return same && (!end.initiates || beginsAsTold(found, end));
}

export const isSamePeer = (found: FoundProfile, { name, end }: ToldProfile): boolean =>
  found.name === name && isSameIdentity(found.rem_id.data, end.peerIdentity);

function beginsAsTold(found: FoundProfile, { remoteIp }: IpsecEnd): boolean {
  const { responder, ike_ts: ike, esp_ts: esp, lifetime } = found;
  return (
    formatVppAddress(responder.addr) === normal(remoteIp) &&
    lifetime === saLifetime.lifetime &&
    ike.crypto_key_size === ikeTransforms.crypto_key_size &&
    ike.dh_group === ikeTransforms.dh_group &&
    esp.crypto_key_size === espTransforms.crypto_key_size
  );
}

/** VPP 26.10 says one of 64 characters without its last. */
const isSameIdentity = (found: string, told: string): boolean =>
  found === told.slice(0, ipsecIdentity(told).length - 1) || found === told;

function isSameSelector(
  found: FoundProfile['loc_ts'],
  [first, last]: readonly [string, string],
): boolean {
  return (
    formatVppAddress(found.start_addr) === normal(first) &&
    formatVppAddress(found.end_addr) === normal(last)
  );
}

const normal = (ip: string): string => formatVppAddress(vppAddress(ip));
