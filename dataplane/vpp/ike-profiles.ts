// The agreement of an IPsec tunnel: a profile that tells IKEv2 who both ends are, and, of the end nearer to the client, the
// first message. NSM concept: the IKEv2 profiles of forwarder-vpp.
// Invariants: the peer's certificate is in a file only while VPP reads it; an agreement that stands is left alone, whatever
// certificate the peer shows since, as the reference's does with every refresh.

import type { Budget, IpsecEnd } from '../../protocols/ports/dataplane.ts';
import type { KeyFiles } from '../../protocols/ports/key-files.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import { ikeAuthMethod, ikeIdType } from '../../protocols/vpp/messages/crypto-messages.ts';
import { allOnes } from '../../protocols/vpp/messages/enums.ts';
import { vppAddress } from '../../protocols/vpp/vpp-address.ts';
import { type IkeKey, pem } from './ike-key.ts';
import type { FoundEnd, Inventory } from './inventory.ts';
import {
  espTransforms,
  findProfiles,
  ikeTransforms,
  isSamePeer,
  isToldSame,
  profileName,
  saLifetime,
  selectorPorts,
  selectorsOf,
  type ToldProfile,
} from './ipsec.ts';
import { type Operations, undoBudget } from './operations.ts';
import { unreadableKey } from './refusals.ts';
import { type Owner, parseEndTag } from './tags.ts';
import { underlayOf } from './underlay-interface.ts';
import type { IpsecPart } from './wire-parts.ts';

/** What only IPsec needs. */
export interface Ike {
  readonly key: IkeKey;
  readonly keyFiles: KeyFiles;
}

interface ProfileJoin {
  readonly owner: Owner;
  readonly vpp: Vpp;
  readonly inventory: Inventory;
  readonly operations: Operations;
  readonly ike: Ike | undefined;
  readonly wireId: string;
  readonly budget: Budget;
  readonly undos: (() => Promise<unknown>)[];
}

/**
 * The tunnel, with the one profile that it is to have; one that has no agreement, and is to begin it, begins anew.
 * Errors: FAILED_PRECONDITION by the rules of IkeKey, and where VPP has no interface with the node's own address.
 */
export async function ensureProfile(
  join: ProfileJoin,
  { end, tag }: IpsecPart,
  found: FoundEnd,
): Promise<FoundEnd> {
  const { owner, inventory, operations, ike, wireId, budget, undos } = join;
  const underlay = end.initiates ? await underlayOf(join, end.localIp, budget) : undefined;
  const told: ToldProfile = {
    name: profileName(owner, tag, end),
    end,
    tunnel: found.index,
    underlay,
  };
  const profiles = found.ipsec?.profiles ?? [];
  const [profile] = profiles;
  const isWhole = profiles.length === 1 && profile !== undefined && isToldSame(profile, told);
  if (isWhole && (found.isUp || (!end.initiates && isSamePeer(profile, told)))) return found;
  await ike?.key.ensure(wireId, budget);
  for (const { name } of await rivals(join, told)) await operations.dropProfile(name, budget);
  undos.push(() => operations.dropProfile(told.name, undoBudget));
  await tell(join, told);
  await inventory.lookAt(wireId, budget);
  return inventory.at(found.index) ?? found;
}

/** Of this tunnel, or left behind before it was said for which. */
async function rivals({ owner, vpp, wireId, budget }: ProfileJoin, { name, tunnel }: ToldProfile) {
  return (await findProfiles(vpp, budget)).filter((each) => {
    if (parseEndTag(owner, each.name)?.wireId !== wireId) return false;
    return each.name === name || [tunnel, allOnes].includes(each.tun_itf);
  });
}

/** Also those whose tunnel is gone, or was never told. */
export async function dropProfilesOf(
  { owner, vpp, operations }: Pick<ProfileJoin, 'owner' | 'vpp' | 'operations'>,
  wireIds: readonly string[],
  budget: Budget,
): Promise<void> {
  const left = (await findProfiles(vpp, budget)).filter(({ name }) =>
    wireIds.includes(parseEndTag(owner, name)?.wireId ?? ''),
  );
  await Promise.all(left.map(({ name }) => operations.dropProfile(name, budget)));
}

async function tell(join: ProfileJoin, told: ToldProfile): Promise<void> {
  const { vpp, budget } = join;
  const { name, end, tunnel, underlay } = told;
  const { near, far } = selectorsOf(end);
  await vpp.request('ikev2_profile_add_del', { name, is_add: true }, budget);
  await tellPeer(join, told);
  const identities = [
    { is_local: true, data: end.identity },
    { is_local: false, data: end.peerIdentity },
  ];
  const selectors = [
    { is_local: true, range: near },
    { is_local: false, range: far },
  ];
  await Promise.all([
    vpp.request('ikev2_profile_set_udp_encap', { name }, budget),
    ...identities.map(({ is_local, data }) => {
      const id = { name, is_local, id_type: ikeIdType.fqdn, data: ascii(data) };
      return vpp.request('ikev2_profile_set_id', id, budget);
    }),
    ...selectors.map(({ is_local, range: [first, last] }) => {
      const addresses = { start_addr: vppAddress(first), end_addr: vppAddress(last) };
      const ts = { is_local, ...selectorPorts, ...addresses };
      return vpp.request('ikev2_profile_set_ts', { name, ts }, budget);
    }),
    vpp.request('ikev2_set_tunnel_interface', { name, sw_if_index: tunnel }, budget),
  ]);
  if (underlay !== undefined) await begin(join, { name, end, underlay });
}

async function tellPeer({ vpp, ike, wireId, budget }: ProfileJoin, { name, end }: ToldProfile) {
  await ike?.keyFiles.during(pem('CERTIFICATE', end.peerCertificate), async (path) => {
    const auth = {
      name,
      auth_method: ikeAuthMethod.rsaSignature,
      is_hex: false,
      data: ascii(path),
    };
    try {
      await vpp.request('ikev2_profile_set_auth', auth, budget);
    } catch (error) {
      throw unreadableKey(wireId, path, error);
    }
  });
}

async function begin(
  { vpp, budget }: ProfileJoin,
  { name, end, underlay }: { name: string; end: IpsecEnd; underlay: number },
): Promise<void> {
  const responder = { sw_if_index: underlay, addr: vppAddress(end.remoteIp) };
  await Promise.all([
    vpp.request('ikev2_set_responder', { name, responder }, budget),
    vpp.request('ikev2_set_ike_transforms', { name, tr: ikeTransforms }, budget),
    vpp.request('ikev2_set_esp_transforms', { name, tr: espTransforms }, budget),
    vpp.request('ikev2_set_sa_lifetime', { name, ...saLifetime }, budget),
  ]);
  await vpp.request('ikev2_initiate_sa_init', { name }, budget);
}

const encoder = new TextEncoder();
const ascii = (text: string): Uint8Array => encoder.encode(text);
