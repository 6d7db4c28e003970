// Messages about any interface: its state, MTU, tag, addresses, and what there is. Fields as in VPP 26.10.

import { boolean, bytes, list, number, optional, text } from '../message-shape.ts';
import { prefix } from './shared-shapes.ts';

export const interfaceRequests = {
  sw_interface_set_flags: {
    /** `flags` of interfaceFlags: `linkUp` is VPP's to say. */
    request: { sw_if_index: number, flags: number },
    reply: {},
  },
  sw_interface_set_mtu: {
    /** Four numbers: L3, IPv4, IPv6, MPLS; 0 leaves the last three to the first. */
    request: { sw_if_index: number, mtu: list(number) },
    reply: {},
  },
  sw_interface_tag_add_del: {
    /** At most 63 bytes. */
    request: { is_add: boolean, sw_if_index: number, tag: text },
    reply: {},
  },
  sw_interface_add_del_mac_address: {
    /** Another address that the interface takes in frames for; `is_add` 1 or 0. */
    request: { sw_if_index: number, addr: bytes, is_add: number },
    reply: {},
  },
  sw_interface_set_rx_mode: {
    /** `mode` of rxMode; of all queues where `queue_id_valid` is not set. */
    request: {
      sw_if_index: number,
      queue_id_valid: optional(boolean),
      queue_id: optional(number),
      mode: number,
    },
    reply: {},
  },
  sw_interface_set_table: {
    request: { sw_if_index: number, is_ipv6: boolean, vrf_id: number },
    reply: {},
  },
  sw_interface_set_unnumbered: {
    /** `sw_if_index` lends its address to `unnumbered_sw_if_index`. */
    request: { sw_if_index: number, unnumbered_sw_if_index: number, is_add: boolean },
    reply: {},
  },
  sw_interface_add_del_address: {
    request: { sw_if_index: number, is_add: boolean, del_all: optional(boolean), prefix },
    reply: {},
  },
  create_vlan_subif: {
    request: { sw_if_index: number, vlan_id: number },
    reply: { sw_if_index: number },
  },
  create_subif: {
    /** `sub_id` is the caller's choice, and stands in the name. `sub_if_flags` of subInterfaceFlags. */
    request: {
      sw_if_index: number,
      sub_id: number,
      sub_if_flags: number,
      outer_vlan_id: number,
      inner_vlan_id: number,
    },
    reply: { sw_if_index: number },
  },
  delete_subif: { request: { sw_if_index: number }, reply: {} },
  create_loopback: {
    /** Zeros let VPP choose. */
    request: { mac_address: optional(bytes) },
    reply: { sw_if_index: number },
  },
  delete_loopback: { request: { sw_if_index: number }, reply: {} },
  want_interface_events: {
    /** `pid` comes back with each event. */
    request: { enable_disable: number, pid: number },
    reply: {},
  },
  add_node_next: {
    /** Returns the arc from one graph node to another, made where it was not there. */
    request: { node_name: text, next_name: text },
    reply: { next_index: number },
  },
  show_version: {
    request: {},
    reply: { program: text, version: text, build_date: text, build_directory: text },
  },
  control_ping: { request: {}, reply: { vpe_pid: number } },
} as const;

export const interfaceDumps = {
  sw_interface_dump: {
    /** Without fields: all. */
    request: {
      sw_if_index: optional(number),
      name_filter_valid: optional(boolean),
      name_filter: optional(text),
    },
    details: {
      message: 'sw_interface_details',
      fields: {
        sw_if_index: number,
        sup_sw_if_index: number,
        l2_address: bytes,
        flags: number,
        type: number,
        link_mtu: number,
        mtu: list(number),
        sub_id: number,
        sub_outer_vlan_id: number,
        sub_inner_vlan_id: number,
        /** Of vlanRewrite. */
        vtr_op: number,
        interface_name: text,
        interface_dev_type: text,
        tag: text,
      },
    },
  },
  ip_address_dump: {
    request: { sw_if_index: number, is_ipv6: boolean },
    details: { message: 'ip_address_details', fields: { sw_if_index: number, prefix } },
  },
} as const;

export const interfaceEvents = {
  sw_interface_event: { pid: number, sw_if_index: number, flags: number, deleted: boolean },
} as const;
