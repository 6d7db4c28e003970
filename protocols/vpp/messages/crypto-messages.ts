// Messages of WireGuard, IPsec and IKEv2. Fields as in VPP 26.10.

import { bigint, boolean, bytes, list, number, optional, struct, text } from '../message-shape.ts';
import { address, prefix } from './shared-shapes.ts';

/** Numbers of IKEv2 (RFC 7296), which are no enums of the API. */
export const ikeAuthMethod = { rsaSignature: 1 } as const;
export const ikeIdType = { fqdn: 2 } as const;
export const ikeEncryption = { aesCbc: 12 } as const;
export const ikeIntegrity = { sha1: 2 } as const;
export const ikeGroup = { modp2048: 14 } as const;

const wireguardInterface = struct({
  user_instance: optional(number),
  /** Of an answer. */
  sw_if_index: optional(number),
  /** 32 bytes each. */
  private_key: bytes,
  public_key: optional(bytes),
  port: number,
  src_ip: address,
});

const wireguardPeer = struct({
  peer_index: optional(number),
  public_key: bytes,
  port: number,
  /** Seconds; 0 for none. */
  persistent_keepalive: optional(number),
  table_id: optional(number),
  endpoint: address,
  sw_if_index: number,
  flags: optional(number),
  allowed_ips: list(prefix),
});

/** `type` of ikeIdType. Of an answer it has one character less than was given, where it has 64. */
const ikeId = struct({ type: number, data_len: number, data: text });
/** `method` of ikeAuthMethod. */
const ikeAuth = struct({ method: number, hex: number, data: bytes });
const responder = struct({ sw_if_index: number, addr: address });
const espTransforms = struct({ crypto_alg: number, crypto_key_size: number, integ_alg: number });
const ikeTransforms = struct({
  crypto_alg: number,
  crypto_key_size: number,
  integ_alg: number,
  prf_alg: optional(number),
  dh_group: number,
});
const trafficSelector = struct({
  sa_index: optional(number),
  child_sa_index: optional(number),
  is_local: boolean,
  protocol_id: number,
  start_port: number,
  end_port: number,
  start_addr: address,
  end_addr: address,
});

export const cryptoRequests = {
  wireguard_interface_create: {
    request: { interface: wireguardInterface, generate_key: optional(boolean) },
    reply: { sw_if_index: number },
  },
  wireguard_interface_delete: { request: { sw_if_index: number }, reply: {} },
  /** Marked deprecated in VPP 26.10, and still there. */
  wireguard_peer_add: { request: { peer: wireguardPeer }, reply: { peer_index: number } },
  wireguard_peer_remove: { request: { peer_index: number }, reply: {} },
  want_wireguard_peer_events: {
    /** Without indices: of all. */
    request: {
      sw_if_index: optional(number),
      peer_index: optional(number),
      enable_disable: number,
      pid: number,
    },
    reply: {},
  },
  ipsec_itf_create: {
    request: {
      itf: struct({
        user_instance: optional(number),
        mode: optional(number),
        sw_if_index: optional(number),
      }),
    },
    reply: { sw_if_index: number },
  },
  ipsec_itf_delete: { request: { sw_if_index: number }, reply: {} },
  /** VPP has one; it reads the file at once. */
  ikev2_set_local_key: { request: { key_file: text }, reply: {} },
  /** For all of VPP: seconds between questions, and how many may stay without an answer. */
  ikev2_profile_set_liveness: { request: { period: number, max_retries: number }, reply: {} },
  ikev2_profile_add_del: { request: { name: text, is_add: boolean }, reply: {} },
  ikev2_profile_set_id: {
    request: { name: text, is_local: boolean, id_type: number, data: bytes },
    reply: {},
  },
  ikev2_profile_set_auth: {
    request: { name: text, auth_method: number, is_hex: boolean, data: bytes },
    reply: {},
  },
  ikev2_profile_set_ts: { request: { name: text, ts: trafficSelector }, reply: {} },
  ikev2_set_ike_transforms: { request: { name: text, tr: ikeTransforms }, reply: {} },
  ikev2_set_esp_transforms: { request: { name: text, tr: espTransforms }, reply: {} },
  ikev2_set_sa_lifetime: {
    /** Seconds and bytes. */
    request: {
      name: text,
      lifetime: bigint,
      lifetime_jitter: number,
      handover: number,
      lifetime_maxdata: bigint,
    },
    reply: {},
  },
  ikev2_set_responder: {
    request: { name: text, responder },
    reply: {},
  },
  ikev2_set_tunnel_interface: { request: { name: text, sw_if_index: number }, reply: {} },
  ikev2_profile_set_udp_encap: { request: { name: text }, reply: {} },
  ikev2_initiate_sa_init: { request: { name: text }, reply: {} },
} as const;

export const cryptoDumps = {
  wireguard_interface_dump: {
    /** All ones: every one. */
    request: { show_private_key: optional(boolean), sw_if_index: number },
    details: {
      message: 'wireguard_interface_details',
      fields: { interface: wireguardInterface },
    },
  },
  wireguard_peers_dump: {
    request: { peer_index: optional(number) },
    details: { message: 'wireguard_peers_details', fields: { peer: wireguardPeer } },
  },
  ipsec_itf_dump: {
    /** All ones: every one. */
    request: { sw_if_index: number },
    details: {
      message: 'ipsec_itf_details',
      fields: { itf: struct({ user_instance: number, mode: number, sw_if_index: number }) },
    },
  },
  ikev2_profile_dump: {
    request: {},
    details: {
      message: 'ikev2_profile_details',
      fields: {
        profile: struct({
          name: text,
          loc_id: ikeId,
          rem_id: ikeId,
          loc_ts: trafficSelector,
          rem_ts: trafficSelector,
          responder,
          ike_ts: ikeTransforms,
          esp_ts: espTransforms,
          lifetime: bigint,
          lifetime_jitter: number,
          handover: number,
          tun_itf: number,
          udp_encap: boolean,
          auth: ikeAuth,
        }),
      },
    },
  },
} as const;

export const cryptoEvents = {
  /** `flags` of wireguardPeerFlags. */
  wireguard_peer_event: { pid: number, peer_index: number, flags: number },
} as const;
