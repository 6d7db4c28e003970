// Messages that make the ends of wires: host interfaces, taps, memifs and VXLAN tunnels. Fields as in VPP 26.10.

import { boolean, bytes, list, number, optional, struct, text } from '../message-shape.ts';
import { address } from './shared-shapes.ts';

const ip4Prefix = struct({ address: bytes, len: number });
const ip6Prefix = struct({ address: bytes, len: number });

export const linkRequests = {
  af_packet_create_v3: {
    /** `mode` of afPacketMode, `flags` of afPacketFlags. Frame sizes and counts of 0 are VPP's own. */
    request: {
      mode: number,
      hw_addr: optional(bytes),
      use_random_hw_addr: optional(boolean),
      host_if_name: text,
      rx_frame_size: optional(number),
      tx_frame_size: optional(number),
      rx_frames_per_block: optional(number),
      tx_frames_per_block: optional(number),
      flags: optional(number),
      num_rx_queues: optional(number),
      num_tx_queues: optional(number),
    },
    reply: { sw_if_index: number },
  },
  af_packet_delete: { request: { host_if_name: text }, reply: {} },
  pipe_create: {
    /** A pair of interfaces with one above both, which sets them up and down. */
    request: { is_specified: boolean, user_instance: number },
    reply: { sw_if_index: number, pipe_sw_if_index: list(number) },
  },
  /** Of the one above both. */
  pipe_delete: { request: { sw_if_index: number }, reply: {} },
  tap_create_v3: {
    /** A value of the host's end counts only where its `..._set` is true. `tap_flags` of tapFlags. */
    request: {
      id: optional(number),
      use_random_mac: optional(boolean),
      mac_address: optional(bytes),
      num_rx_queues: optional(number),
      num_tx_queues: optional(number),
      tx_ring_sz: optional(number),
      rx_ring_sz: optional(number),
      host_mtu_set: optional(boolean),
      host_mtu_size: optional(number),
      host_mac_addr_set: optional(boolean),
      host_mac_addr: optional(bytes),
      host_ip4_prefix_set: optional(boolean),
      host_ip4_prefix: optional(ip4Prefix),
      host_ip6_prefix_set: optional(boolean),
      host_ip6_prefix: optional(ip6Prefix),
      host_ip4_gw_set: optional(boolean),
      host_ip4_gw: optional(bytes),
      host_ip6_gw_set: optional(boolean),
      host_ip6_gw: optional(bytes),
      tap_flags: optional(number),
      host_namespace_set: optional(boolean),
      host_namespace: optional(text),
      host_if_name_set: optional(boolean),
      host_if_name: optional(text),
      host_bridge_set: optional(boolean),
      host_bridge: optional(text),
      tag: optional(text),
    },
    reply: { sw_if_index: number },
  },
  tap_delete_v2: { request: { sw_if_index: number }, reply: {} },
  memif_socket_filename_add_del_v2: {
    /** Without `socket_id` VPP chooses one. `abstract:<name>` and `,netns_name=<path>` are understood. */
    request: { is_add: boolean, socket_id: optional(number), socket_filename: optional(text) },
    reply: { socket_id: number },
  },
  memif_create_v2: {
    /** `role` of memifRole, `mode` of memifMode. */
    request: {
      role: number,
      mode: number,
      rx_queues: optional(number),
      tx_queues: optional(number),
      id: number,
      socket_id: number,
      ring_size: optional(number),
      buffer_size: optional(number),
      no_zero_copy: optional(boolean),
      use_dma: optional(boolean),
      hw_addr: optional(bytes),
      secret: optional(text),
    },
    reply: { sw_if_index: number },
  },
  /** What the reference sends; deprecated by VPP. */
  memif_create: {
    request: {
      role: number,
      mode: number,
      rx_queues: optional(number),
      tx_queues: optional(number),
      id: number,
      socket_id: number,
      ring_size: optional(number),
      buffer_size: optional(number),
      no_zero_copy: optional(boolean),
      hw_addr: optional(bytes),
      secret: optional(text),
    },
    reply: { sw_if_index: number },
  },
  memif_delete: { request: { sw_if_index: number }, reply: {} },
  vxlan_add_del_tunnel_v3: {
    /** `decap_next_index` as add_node_next gives it; the index all ones stands for no multicast. */
    request: {
      is_add: boolean,
      instance: optional(number),
      src_address: address,
      dst_address: address,
      src_port: number,
      dst_port: number,
      mcast_sw_if_index: optional(number),
      encap_vrf_id: optional(number),
      decap_next_index: number,
      vni: number,
      is_l3: optional(boolean),
    },
    reply: { sw_if_index: number },
  },
} as const;

export const linkDumps = {
  pipe_dump: {
    request: {},
    details: {
      message: 'pipe_details',
      fields: { sw_if_index: number, pipe_sw_if_index: list(number), instance: number },
    },
  },
  af_packet_dump: {
    request: {},
    details: { message: 'af_packet_details', fields: { sw_if_index: number, host_if_name: text } },
  },
  memif_dump: {
    request: {},
    details: {
      message: 'memif_details',
      fields: {
        sw_if_index: number,
        id: number,
        role: number,
        mode: number,
        socket_id: number,
        flags: number,
        if_name: text,
      },
    },
  },
  memif_socket_filename_dump: {
    request: {},
    details: {
      message: 'memif_socket_filename_details',
      fields: { socket_id: number, socket_filename: text },
    },
  },
  vxlan_tunnel_v2_dump: {
    /** All ones: every tunnel. */
    request: { sw_if_index: number },
    details: {
      message: 'vxlan_tunnel_v2_details',
      fields: {
        sw_if_index: number,
        instance: number,
        src_address: address,
        dst_address: address,
        src_port: number,
        dst_port: number,
        mcast_sw_if_index: number,
        encap_vrf_id: number,
        decap_next_index: number,
        vni: number,
      },
    },
  },
} as const;
