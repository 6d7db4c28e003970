// Messages that join interfaces, at layer 2 and 3, and those of routes, neighbours and ACLs. Fields as in VPP 26.10.

import { boolean, bytes, list, number, optional, struct, text } from '../message-shape.ts';
import { address, fibPath, ipTable, prefix } from './shared-shapes.ts';

/** L2_VTR_... of VPP's vnet/l2/l2_vtr.h, which are no enum of the API. */
export const vlanRewrite = { disabled: 0, popOne: 3, popTwo: 4 } as const;

/** Policy of layer 3 for what comes in at `sw_if_index`. */
const l3xc = struct({ sw_if_index: number, is_ip6: boolean, paths: list(fibPath) });

const route = struct({
  table_id: optional(number),
  stats_index: optional(number),
  prefix,
  paths: list(fibPath),
});

const neighbor = struct({
  sw_if_index: number,
  /** neighborFlags. */
  flags: optional(number),
  mac_address: bytes,
  ip_address: address,
});

/** `is_permit` of aclAction; `proto` 0 is any; ports are inclusive, for ICMP they are type and code. */
const aclRule = struct({
  is_permit: number,
  src_prefix: prefix,
  dst_prefix: prefix,
  proto: optional(number),
  srcport_or_icmptype_first: optional(number),
  srcport_or_icmptype_last: optional(number),
  dstport_or_icmpcode_first: optional(number),
  dstport_or_icmpcode_last: optional(number),
  tcp_flags_mask: optional(number),
  tcp_flags_value: optional(number),
});

export const switchingRequests = {
  sw_interface_set_l2_xconnect: {
    /** One direction; the other needs its own. */
    request: { rx_sw_if_index: number, tx_sw_if_index: number, enable: boolean },
    reply: {},
  },
  l2_patch_add_del: {
    request: { rx_sw_if_index: number, tx_sw_if_index: number, is_add: boolean },
    reply: {},
  },
  sw_interface_set_l2_bridge: {
    request: {
      rx_sw_if_index: number,
      bd_id: number,
      port_type: optional(number),
      shg: optional(number),
      enable: boolean,
    },
    reply: {},
  },
  bridge_domain_add_del_v2: {
    /** `bd_id` all ones lets VPP choose. */
    request: {
      bd_id: number,
      flood: optional(boolean),
      uu_flood: optional(boolean),
      forward: optional(boolean),
      learn: optional(boolean),
      arp_term: optional(boolean),
      arp_ufwd: optional(boolean),
      mac_age: optional(number),
      bd_tag: optional(text),
      is_add: boolean,
    },
    reply: { bd_id: number },
  },
  l2_interface_vlan_tag_rewrite: {
    /** `vtr_op` of vlanRewrite: what is done to frames that come in; the reverse is done to those that go out. */
    request: {
      sw_if_index: number,
      vtr_op: number,
      push_dot1q: optional(number),
      tag1: optional(number),
      tag2: optional(number),
    },
    reply: {},
  },
  ip_table_allocate: {
    /** `table_id` all ones lets VPP choose. */
    request: { table: ipTable },
    reply: { table: ipTable },
  },
  ip_table_add_del: { request: { is_add: boolean, table: ipTable }, reply: {} },
  ip_route_add_del: {
    request: { is_add: boolean, is_multipath: optional(boolean), route },
    reply: { stats_index: number },
  },
  ip_neighbor_add_del: { request: { is_add: boolean, neighbor }, reply: { stats_index: number } },
  l3xc_update: { request: { l3xc }, reply: { stats_index: number } },
  l3xc_del: { request: { sw_if_index: number, is_ip6: boolean }, reply: {} },
  acl_add_replace: {
    /** `acl_index` all ones adds. */
    request: { acl_index: number, tag: text, r: list(aclRule) },
    reply: { acl_index: number },
  },
  acl_del: { request: { acl_index: number }, reply: {} },
  acl_interface_set_acl_list: {
    /** The first `n_input` are for what comes in, the others for what goes out. */
    request: { sw_if_index: number, n_input: number, acls: list(number) },
    reply: {},
  },
} as const;

export const switchingDumps = {
  l2_xconnect_dump: {
    request: {},
    details: {
      message: 'l2_xconnect_details',
      fields: { rx_sw_if_index: number, tx_sw_if_index: number },
    },
  },
  bridge_domain_dump: {
    /** All ones: every one. */
    request: { bd_id: optional(number) },
    details: {
      message: 'bridge_domain_details',
      fields: {
        bd_id: number,
        bd_tag: text,
        sw_if_details: list(struct({ sw_if_index: number })),
      },
    },
  },
  l3xc_dump: {
    /** All ones: every one. */
    request: { sw_if_index: number },
    details: { message: 'l3xc_details', fields: { l3xc } },
  },
  acl_dump: {
    /** All ones: every one. */
    request: { acl_index: number },
    details: {
      message: 'acl_details',
      fields: { acl_index: number, tag: text, r: list(aclRule) },
    },
  },
  acl_interface_list_dump: {
    request: { sw_if_index: optional(number) },
    details: {
      message: 'acl_interface_list_details',
      fields: { sw_if_index: number, n_input: number, acls: list(number) },
    },
  },
} as const;
