// What a VPP in memory has for IPsec: interfaces, profiles of IKEv2 and one private key. As the real one it sets an interface
// up once its ends have agreed, which they do at once, and down when the profile goes; it says an identity of 64 characters
// without its last, and reads keys when it is told their path.

import type { VppFields } from '../../protocols/vpp/values.ts';
import { allOnes } from '../../protocols/vpp/messages/enums.ts';
import { vppAddress } from '../../protocols/vpp/vpp-address.ts';
import { vppRefusal } from '../../protocols/vpp/return-codes.ts';

export interface IkeInterface {
  readonly index: number;
  readonly ipsec?: VppFields;
}

export interface IkeSetup {
  readonly log: string[];
  add(made: { readonly name: string; readonly ipsec: VppFields }): VppFields;
  remove(index: VppFields[string]): VppFields;
  setUp(index: number, isUp: boolean): void;
  interfaces(): readonly IkeInterface[];
}

const codes = { unspecified: -1, taken: -31 };
const instanceCount = 16_384;
const nameOf = (fields: VppFields): string => {
  const { name } = fields;
  return typeof name === 'string' ? name : '';
};
const textOf = (fields: VppFields): string =>
  fields['data'] instanceof Uint8Array ? new TextDecoder().decode(fields['data']) : '';

const anywhere = { start_addr: vppAddress('0.0.0.0'), end_addr: vppAddress('0.0.0.0') };
const newProfile: VppFields = {
  loc_id: { type: 0, data_len: 0, data: '' },
  rem_id: { type: 0, data_len: 0, data: '' },
  loc_ts: { is_local: true, protocol_id: 0, start_port: 0, end_port: 0, ...anywhere },
  rem_ts: { is_local: false, protocol_id: 0, start_port: 0, end_port: 0, ...anywhere },
  responder: { sw_if_index: allOnes, addr: vppAddress('0.0.0.0') },
  ike_ts: { crypto_alg: 0, crypto_key_size: 0, integ_alg: 0, prf_alg: 0, dh_group: 0 },
  esp_ts: { crypto_alg: 0, crypto_key_size: 0, integ_alg: 0 },
  lifetime: 0n,
  lifetime_jitter: 0,
  handover: 0,
  tun_itf: allOnes,
  udp_encap: false,
  auth: { method: 0, hex: 0, data: new Uint8Array() },
};

export class FakeIke {
  readonly #setup: IkeSetup;
  readonly #profiles = new Map<string, VppFields>();

  constructor(setup: IkeSetup) {
    this.#setup = setup;
  }

  clear(): void {
    this.#profiles.clear();
  }

  readonly handlers: Readonly<Record<string, (fields: VppFields) => VppFields>> = {
    ipsec_itf_create: ({ itf: given }) => {
      const ipsec = given as VppFields;
      const instance = Number(ipsec['user_instance']);
      const isTaken = this.#setup
        .interfaces()
        .some((each) => each.ipsec?.['user_instance'] === instance);
      if (isTaken || instance >= instanceCount) throw vppRefusal('create', codes.taken);
      this.#setup.log.push(`create ipsec${instance}`);
      return this.#setup.add({ name: `ipsec${instance}`, ipsec });
    },
    ipsec_itf_delete: ({ sw_if_index }) => this.#setup.remove(sw_if_index),
    ikev2_set_local_key: () => ({}),
    ikev2_profile_set_liveness: () => ({}),
    ikev2_profile_add_del: (fields) => {
      const name = nameOf(fields);
      const found = this.#profiles.get(name);
      if ((found === undefined) !== fields['is_add']) {
        throw vppRefusal('profile', codes.unspecified);
      }
      this.#setup.log.push(`${fields['is_add'] === true ? 'add' : 'delete'} profile`);
      if (found === undefined) this.#profiles.set(name, { ...newProfile, name });
      else {
        this.#profiles.delete(name);
        this.#setUp(found, false);
      }
      return {};
    },
    ikev2_profile_set_id: (fields) => {
      const data = textOf(fields);
      const id = { type: fields['id_type'], data_len: data.length, data: data.slice(0, 63) };
      return this.#change(fields, { [fields['is_local'] === true ? 'loc_id' : 'rem_id']: id });
    },
    ikev2_profile_set_auth: (fields) => {
      const auth = { method: fields['auth_method'], hex: 0, data: fields['data'] };
      return this.#change(fields, { auth });
    },
    ikev2_profile_set_ts: (fields) => {
      const ts = fields['ts'] as VppFields;
      return this.#change(fields, { [ts['is_local'] === true ? 'loc_ts' : 'rem_ts']: ts });
    },
    ikev2_profile_set_udp_encap: (fields) => this.#change(fields, { udp_encap: true }),
    ikev2_set_ike_transforms: (fields) => this.#change(fields, { ike_ts: fields['tr'] }),
    ikev2_set_esp_transforms: (fields) => this.#change(fields, { esp_ts: fields['tr'] }),
    ikev2_set_responder: (fields) => this.#change(fields, { responder: fields['responder'] }),
    ikev2_set_tunnel_interface: (fields) =>
      this.#change(fields, { tun_itf: fields['sw_if_index'] }),
    ikev2_set_sa_lifetime: (fields) => {
      const { lifetime, lifetime_jitter, handover } = fields;
      return this.#change(fields, { lifetime, lifetime_jitter, handover });
    },
    ikev2_initiate_sa_init: (fields) => {
      this.#setUp(this.#at(fields), true);
      return {};
    },
  };

  /** Undefined for a dump that is none of these. */
  details(name: string, wanted: VppFields): readonly VppFields[] | undefined {
    switch (name) {
      case 'ipsec_itf_dump':
        return this.#setup.interfaces().flatMap(({ index, ipsec }) => {
          const isWanted = [allOnes, index].includes(Number(wanted['sw_if_index']));
          return ipsec && isWanted ? [{ itf: { ...ipsec, sw_if_index: index } }] : [];
        });
      case 'ikev2_profile_dump':
        return [...this.#profiles.values()].map((profile) => ({ profile }));
      default:
        return undefined;
    }
  }

  #at(fields: VppFields): VppFields {
    return this.#profiles.get(nameOf(fields)) ?? unknownProfile();
  }

  #change(fields: VppFields, change: Readonly<Record<string, VppFields[string] | undefined>>) {
    const defined = Object.entries(change).filter(([, value]) => value !== undefined);
    const changed = { ...this.#at(fields), ...(Object.fromEntries(defined) as VppFields) };
    this.#profiles.set(nameOf(fields), changed);
    return {};
  }

  #setUp({ tun_itf: index }: VppFields, isUp: boolean): void {
    const isThere = this.#setup.interfaces().some((each) => each.index === index);
    if (isThere) this.#setup.setUp(Number(index), isUp);
  }
}

function unknownProfile(): never {
  throw vppRefusal('profile', codes.unspecified);
}
