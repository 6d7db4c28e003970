// The messages of VPP 26.10 that a forwarder uses, as definitions for tests, in the notation of api-notation.ts. Names,
// fields and checksums are VPP's.

import { modulesOf } from './api-notation.ts';
import { forwarderTypes } from './forwarder-types.ts';

/** As the running VPP or a folder of `*.api.json` has them: objects by module. */
export const forwarderModules = () => modulesOf(forwarderTypes, forwarderMessages);

const forwarderMessages = `
module memclnt
reply sockclnt_create 455fb9c4 name:string[64]
request sockclnt_create_reply 35166268 response:i32 index:u32 count:u16
  message_table:message_table_entry[count]
service sockclnt_create sockclnt_create_reply
request sockclnt_delete 8ac76db6 index:u32
reply sockclnt_delete_reply 8f38b1ee response:i32
service sockclnt_delete sockclnt_delete_reply
request control_ping 51077d14
reply control_ping_reply f6b0b8ca retval:i32 client_index:u32 vpe_pid:u32
service control_ping control_ping_reply
request get_api_json 51077d14
reply get_api_json_reply ea715b59 retval:i32 json:string[]
service get_api_json get_api_json_reply
module vpe
request show_version 51077d14
reply show_version_reply c919bde1 retval:i32 program:string[32] version:string[32]
  build_date:string[32] build_directory:string[256]
service show_version show_version_reply
module af_packet
request af_packet_create_v3 b3a809d4 mode:af_packet_mode hw_addr:mac_address
  use_random_hw_addr:bool host_if_name:string[64] rx_frame_size:u32 tx_frame_size:u32
  rx_frames_per_block:u32 tx_frames_per_block:u32 flags:af_packet_flags num_rx_queues:u16=1
  num_tx_queues:u16=1
reply af_packet_create_v3_reply 5383d31f retval:i32 sw_if_index:interface_index
service af_packet_create_v3 af_packet_create_v3_reply
request af_packet_delete 863fa648 host_if_name:string[64]
reply af_packet_delete_reply e8d4e804 retval:i32
service af_packet_delete af_packet_delete_reply
request af_packet_dump 51077d14
reply af_packet_details 58c7c042 sw_if_index:interface_index host_if_name:string[64]
service af_packet_dump af_packet_details many
module pipe
request pipe_create bb263bd3 is_specified:bool user_instance:u32
reply pipe_create_reply b7ce310c retval:i32 sw_if_index:interface_index
  pipe_sw_if_index:interface_index[2]
service pipe_create pipe_create_reply
request pipe_delete f9e6675e sw_if_index:interface_index
reply pipe_delete_reply e8d4e804 retval:i32
service pipe_delete pipe_delete_reply
request pipe_dump 51077d14
reply pipe_details c52b799d sw_if_index:interface_index pipe_sw_if_index:interface_index[2]
  instance:u32
service pipe_dump pipe_details many
module tapv2
request tap_create_v3 3f3fd1df id:u32=max use_random_mac:bool=true mac_address:mac_address
  num_rx_queues:u16=1 num_tx_queues:u16=1 tx_ring_sz:u16=256 rx_ring_sz:u16=256 host_mtu_set:bool
  host_mtu_size:u32 host_mac_addr_set:bool host_mac_addr:mac_address host_ip4_prefix_set:bool
  host_ip4_prefix:ip4_address_with_prefix host_ip6_prefix_set:bool
  host_ip6_prefix:ip6_address_with_prefix host_ip4_gw_set:bool host_ip4_gw:ip4_address
  host_ip6_gw_set:bool host_ip6_gw:ip6_address tap_flags:tap_flags host_namespace_set:bool
  host_namespace:string[64] host_if_name_set:bool host_if_name:string[64] host_bridge_set:bool
  host_bridge:string[64] tag:string[]
reply tap_create_v3_reply 5383d31f retval:i32 sw_if_index:interface_index
service tap_create_v3 tap_create_v3_reply
request tap_delete_v2 f9e6675e sw_if_index:interface_index
reply tap_delete_v2_reply e8d4e804 retval:i32
service tap_delete_v2 tap_delete_v2_reply
module memif
request memif_socket_filename_add_del_v2 34223bdf is_add:bool socket_id:u32=max
  socket_filename:string[]
reply memif_socket_filename_add_del_v2_reply 9f29bdb9 retval:i32 socket_id:u32
service memif_socket_filename_add_del_v2 memif_socket_filename_add_del_v2_reply
request memif_create_v2 8c7de5f7 role:memif_role mode:memif_mode rx_queues:u8 tx_queues:u8 id:u32
  socket_id:u32 ring_size:u32 buffer_size:u16 no_zero_copy:bool use_dma:bool hw_addr:mac_address
  secret:string[24]
reply memif_create_v2_reply 5383d31f retval:i32 sw_if_index:interface_index
service memif_create_v2 memif_create_v2_reply
request memif_create b1b25061 role:memif_role mode:memif_mode rx_queues:u8 tx_queues:u8 id:u32
  socket_id:u32 ring_size:u32 buffer_size:u16 no_zero_copy:bool hw_addr:mac_address
  secret:string[24] deprecated
reply memif_create_reply 5383d31f retval:i32 sw_if_index:interface_index deprecated
service memif_create memif_create_reply
request memif_delete f9e6675e sw_if_index:interface_index
reply memif_delete_reply e8d4e804 retval:i32
service memif_delete memif_delete_reply
request memif_dump 51077d14
reply memif_details da34feb9 sw_if_index:interface_index hw_addr:mac_address id:u32
  role:memif_role mode:memif_mode zero_copy:bool socket_id:u32 ring_size:u32 buffer_size:u16
  flags:if_status_flags if_name:string[64]
service memif_dump memif_details many
request memif_socket_filename_dump 51077d14
reply memif_socket_filename_details 7ff326f7 socket_id:u32 socket_filename:string[108]
service memif_socket_filename_dump memif_socket_filename_details many
module vxlan
request vxlan_add_del_tunnel_v3 0072b037 is_add:bool=true instance:u32=max src_address:address
  dst_address:address src_port:u16 dst_port:u16 mcast_sw_if_index:interface_index encap_vrf_id:u32
  decap_next_index:u32 vni:u32 is_l3:bool=false
reply vxlan_add_del_tunnel_v3_reply 5383d31f retval:i32 sw_if_index:interface_index
service vxlan_add_del_tunnel_v3 vxlan_add_del_tunnel_v3_reply
request vxlan_tunnel_v2_dump f9e6675e sw_if_index:interface_index
reply vxlan_tunnel_v2_details d3bdd4d9 sw_if_index:interface_index instance:u32
  src_address:address dst_address:address src_port:u16 dst_port:u16
  mcast_sw_if_index:interface_index encap_vrf_id:u32 decap_next_index:u32 vni:u32
service vxlan_tunnel_v2_dump vxlan_tunnel_v2_details many
module vlib
request add_node_next 2457116d node_name:string[64] next_name:string[64]
reply add_node_next_reply 2ed75f32 retval:i32 next_index:u32
service add_node_next add_node_next_reply
module l2
request sw_interface_set_l2_xconnect 4fa28a85 rx_sw_if_index:interface_index
  tx_sw_if_index:interface_index enable:bool=true
reply sw_interface_set_l2_xconnect_reply e8d4e804 retval:i32
service sw_interface_set_l2_xconnect sw_interface_set_l2_xconnect_reply
request l2_xconnect_dump 51077d14
reply l2_xconnect_details 472b6b67 rx_sw_if_index:interface_index tx_sw_if_index:interface_index
service l2_xconnect_dump l2_xconnect_details many
request l2_patch_add_del a1f6a6f3 rx_sw_if_index:interface_index tx_sw_if_index:interface_index
  is_add:bool=true
reply l2_patch_add_del_reply e8d4e804 retval:i32
service l2_patch_add_del l2_patch_add_del_reply
request sw_interface_set_l2_bridge d0678b13 rx_sw_if_index:interface_index bd_id:u32
  port_type:l2_port_type shg:u8 enable:bool=true
reply sw_interface_set_l2_bridge_reply e8d4e804 retval:i32
service sw_interface_set_l2_bridge sw_interface_set_l2_bridge_reply
request bridge_domain_add_del_v2 600b7170 bd_id:u32 flood:bool uu_flood:bool forward:bool
  learn:bool arp_term:bool arp_ufwd:bool mac_age:u8 bd_tag:string[64] is_add:bool=true
reply bridge_domain_add_del_v2_reply fcb1e980 retval:i32 bd_id:u32
service bridge_domain_add_del_v2 bridge_domain_add_del_v2_reply
request bridge_domain_dump 74396a43 bd_id:u32=max sw_if_index:interface_index=max
reply bridge_domain_details 0fa506fd bd_id:u32 flood:bool uu_flood:bool forward:bool learn:bool
  arp_term:bool arp_ufwd:bool mac_age:u8 bd_tag:string[64] bvi_sw_if_index:interface_index
  uu_fwd_sw_if_index:interface_index n_sw_ifs:u32 sw_if_details:bridge_domain_sw_if[n_sw_ifs]
service bridge_domain_dump bridge_domain_details many
request l2_interface_vlan_tag_rewrite 62cc0bbc sw_if_index:interface_index vtr_op:u32
  push_dot1q:u32 tag1:u32 tag2:u32
reply l2_interface_vlan_tag_rewrite_reply e8d4e804 retval:i32
service l2_interface_vlan_tag_rewrite l2_interface_vlan_tag_rewrite_reply
module interface
request create_vlan_subif af34ac8b sw_if_index:interface_index vlan_id:u32
reply create_vlan_subif_reply 5383d31f retval:i32 sw_if_index:interface_index
service create_vlan_subif create_vlan_subif_reply
request create_subif 790ca755 sw_if_index:interface_index sub_id:u32 sub_if_flags:sub_if_flags
  outer_vlan_id:u16 inner_vlan_id:u16
reply create_subif_reply 5383d31f retval:i32 sw_if_index:interface_index
service create_subif create_subif_reply
request delete_subif f9e6675e sw_if_index:interface_index
reply delete_subif_reply e8d4e804 retval:i32
service delete_subif delete_subif_reply
request create_loopback 42bb5d22 mac_address:mac_address
reply create_loopback_reply 5383d31f retval:i32 sw_if_index:interface_index
service create_loopback create_loopback_reply
request delete_loopback f9e6675e sw_if_index:interface_index
reply delete_loopback_reply e8d4e804 retval:i32
service delete_loopback delete_loopback_reply
request sw_interface_set_flags f5aec1b8 sw_if_index:interface_index flags:if_status_flags
reply sw_interface_set_flags_reply e8d4e804 retval:i32
service sw_interface_set_flags sw_interface_set_flags_reply
request sw_interface_set_mtu 5cbe85e5 sw_if_index:interface_index mtu:u32[4]
reply sw_interface_set_mtu_reply e8d4e804 retval:i32
service sw_interface_set_mtu sw_interface_set_mtu_reply
request sw_interface_tag_add_del 426f8bc1 is_add:bool sw_if_index:interface_index tag:string[64]
reply sw_interface_tag_add_del_reply e8d4e804 retval:i32
service sw_interface_tag_add_del sw_interface_tag_add_del_reply
request sw_interface_add_del_mac_address 638bb9f4 sw_if_index:u32 addr:mac_address is_add:u8
reply sw_interface_add_del_mac_address_reply e8d4e804 retval:i32
service sw_interface_add_del_mac_address sw_interface_add_del_mac_address_reply
request sw_interface_set_rx_mode b04d1cfe sw_if_index:interface_index queue_id_valid:bool
  queue_id:u32 mode:rx_mode
reply sw_interface_set_rx_mode_reply e8d4e804 retval:i32
service sw_interface_set_rx_mode sw_interface_set_rx_mode_reply
request sw_interface_set_table df42a577 sw_if_index:interface_index is_ipv6:bool vrf_id:u32
reply sw_interface_set_table_reply e8d4e804 retval:i32
service sw_interface_set_table sw_interface_set_table_reply
request sw_interface_set_unnumbered 154a6439 sw_if_index:interface_index
  unnumbered_sw_if_index:interface_index is_add:bool
reply sw_interface_set_unnumbered_reply e8d4e804 retval:i32
service sw_interface_set_unnumbered sw_interface_set_unnumbered_reply
request sw_interface_add_del_address 5463d73b sw_if_index:interface_index is_add:bool del_all:bool
  prefix:address_with_prefix
reply sw_interface_add_del_address_reply e8d4e804 retval:i32
service sw_interface_add_del_address sw_interface_add_del_address_reply
request sw_interface_dump aa610c27 sw_if_index:interface_index=max name_filter_valid:bool
  name_filter:string[]
reply sw_interface_details 6c221fc7 sw_if_index:interface_index sup_sw_if_index:u32
  l2_address:mac_address flags:if_status_flags type:if_type link_duplex:link_duplex link_speed:u32
  link_mtu:u16 mtu:u32[4] sub_id:u32 sub_number_of_tags:u8 sub_outer_vlan_id:u16
  sub_inner_vlan_id:u16 sub_if_flags:sub_if_flags vtr_op:u32 vtr_push_dot1q:u32 vtr_tag1:u32
  vtr_tag2:u32 outer_tag:u16 b_dmac:mac_address b_smac:mac_address b_vlanid:u16 i_sid:u32
  interface_name:string[64] interface_dev_type:string[64] tag:string[64]
service sw_interface_dump sw_interface_details many
request want_interface_events 476f5a08 enable_disable:u32 pid:u32
event sw_interface_event 2d3d95a7 pid:u32 sw_if_index:interface_index flags:if_status_flags
  deleted:bool
reply want_interface_events_reply e8d4e804 retval:i32
service want_interface_events want_interface_events_reply events sw_interface_event
module ip
request ip_table_allocate b9d2e09e table:ip_table
reply ip_table_allocate_reply 1728303a retval:i32 table:ip_table
service ip_table_allocate ip_table_allocate_reply
request ip_table_add_del 0ffdaec0 is_add:bool=true table:ip_table
reply ip_table_add_del_reply e8d4e804 retval:i32
service ip_table_add_del ip_table_add_del_reply
request ip_route_add_del b8ecfe0d is_add:bool=true is_multipath:bool route:ip_route
reply ip_route_add_del_reply 1992deab retval:i32 stats_index:u32
service ip_route_add_del ip_route_add_del_reply
request ip_address_dump 2d033de4 sw_if_index:interface_index is_ipv6:bool
reply ip_address_details ee29b797 sw_if_index:interface_index prefix:address_with_prefix
service ip_address_dump ip_address_details many
module ip_neighbor
request ip_neighbor_add_del 0607c257 is_add:bool neighbor:ip_neighbor
reply ip_neighbor_add_del_reply 1992deab retval:i32 stats_index:u32
service ip_neighbor_add_del ip_neighbor_add_del_reply
module l3xc
request l3xc_update e96aabdf l3xc:l3xc
reply l3xc_update_reply 1992deab retval:i32 stats_index:u32
service l3xc_update l3xc_update_reply
request l3xc_del e7dbef91 sw_if_index:interface_index is_ip6:bool
reply l3xc_del_reply e8d4e804 retval:i32
service l3xc_del l3xc_del_reply
request l3xc_dump f9e6675e sw_if_index:interface_index
reply l3xc_details bc5bf852 l3xc:l3xc
service l3xc_dump l3xc_details many
module acl
request acl_add_replace ee5c2f18 acl_index:u32 tag:string[64] count:u32 r:acl_rule[count]
reply acl_add_replace_reply ac407b0c acl_index:u32 retval:i32
service acl_add_replace acl_add_replace_reply
request acl_interface_set_acl_list 473982bd sw_if_index:interface_index count:u8 n_input:u8
  acls:u32[count]
reply acl_interface_set_acl_list_reply e8d4e804 retval:i32
service acl_interface_set_acl_list acl_interface_set_acl_list_reply
request acl_interface_list_dump f9e6675e sw_if_index:interface_index=max
reply acl_interface_list_details e695d256 sw_if_index:interface_index count:u8 n_input:u8
  acls:u32[count]
service acl_interface_list_dump acl_interface_list_details many
request acl_del ef34fea4 acl_index:u32
reply acl_del_reply e8d4e804 retval:i32
service acl_del acl_del_reply
request acl_dump ef34fea4 acl_index:u32
reply acl_details 95babae0 acl_index:u32 tag:string[64] count:u32 r:acl_rule[count]
service acl_dump acl_details many
module wireguard
request wireguard_interface_create a530137e interface:wireguard_interface generate_key:bool
reply wireguard_interface_create_reply 5383d31f retval:i32 sw_if_index:interface_index
service wireguard_interface_create wireguard_interface_create_reply
request wireguard_interface_delete f9e6675e sw_if_index:interface_index
reply wireguard_interface_delete_reply e8d4e804 retval:i32
service wireguard_interface_delete wireguard_interface_delete_reply
request wireguard_interface_dump 2c954158 show_private_key:bool sw_if_index:interface_index
reply wireguard_interface_details 0dd4865d interface:wireguard_interface
service wireguard_interface_dump wireguard_interface_details many
request wireguard_peer_add 9b8aad61 peer:wireguard_peer deprecated
reply wireguard_peer_add_reply 084a0cd3 retval:i32 peer_index:u32 deprecated
service wireguard_peer_add wireguard_peer_add_reply
request wireguard_peer_remove 3b74607a peer_index:u32
reply wireguard_peer_remove_reply e8d4e804 retval:i32
service wireguard_peer_remove wireguard_peer_remove_reply
request wireguard_peers_dump 3b74607a peer_index:u32=max deprecated
reply wireguard_peers_details 6a9f6bc3 peer:wireguard_peer deprecated
service wireguard_peers_dump wireguard_peers_details many
request want_wireguard_peer_events 3bc666c8 sw_if_index:interface_index=max peer_index:u32=max
  enable_disable:u32 pid:u32
event wireguard_peer_event 4e1b5d67 pid:u32 peer_index:u32 flags:wireguard_peer_flags
reply want_wireguard_peer_events_reply e8d4e804 retval:i32
service want_wireguard_peer_events want_wireguard_peer_events_reply events wireguard_peer_event
module ipsec
request ipsec_itf_create 6f50b3bc itf:ipsec_itf
reply ipsec_itf_create_reply 5383d31f retval:i32 sw_if_index:interface_index
service ipsec_itf_create ipsec_itf_create_reply
request ipsec_itf_delete f9e6675e sw_if_index:interface_index
reply ipsec_itf_delete_reply e8d4e804 retval:i32
service ipsec_itf_delete ipsec_itf_delete_reply
request ipsec_itf_dump f9e6675e sw_if_index:interface_index
reply ipsec_itf_details 548a73b8 itf:ipsec_itf
service ipsec_itf_dump ipsec_itf_details many
module ikev2
request ikev2_profile_dump 51077d14
reply ikev2_profile_details 3e3e895b profile:ikev2_profile
service ikev2_profile_dump ikev2_profile_details many
request ikev2_set_local_key 799b69ec key_file:string[256]
reply ikev2_set_local_key_reply e8d4e804 retval:i32
service ikev2_set_local_key ikev2_set_local_key_reply
request ikev2_profile_set_liveness 6bdf4d65 period:u32 max_retries:u32
reply ikev2_profile_set_liveness_reply e8d4e804 retval:i32
service ikev2_profile_set_liveness ikev2_profile_set_liveness_reply
request ikev2_profile_add_del 2c925b55 name:string[64] is_add:bool
reply ikev2_profile_add_del_reply e8d4e804 retval:i32
service ikev2_profile_add_del ikev2_profile_add_del_reply
request ikev2_profile_set_id 4d7e2418 name:string[64] is_local:bool id_type:u8 data_len:u32
  data:u8[data_len]
reply ikev2_profile_set_id_reply e8d4e804 retval:i32
service ikev2_profile_set_id ikev2_profile_set_id_reply
request ikev2_profile_set_ts 8eb8cfd1 name:string[64] ts:ikev2_ts
reply ikev2_profile_set_ts_reply e8d4e804 retval:i32
service ikev2_profile_set_ts ikev2_profile_set_ts_reply
request ikev2_profile_set_auth 642c97cd name:string[64] auth_method:u8 is_hex:bool data_len:u32
  data:u8[data_len]
reply ikev2_profile_set_auth_reply e8d4e804 retval:i32
service ikev2_profile_set_auth ikev2_profile_set_auth_reply
request ikev2_set_esp_transforms a63dc205 name:string[64] tr:ikev2_esp_transforms
reply ikev2_set_esp_transforms_reply e8d4e804 retval:i32
service ikev2_set_esp_transforms ikev2_set_esp_transforms_reply
request ikev2_set_ike_transforms aa99fec0 name:string[64] tr:ikev2_ike_transforms
reply ikev2_set_ike_transforms_reply e8d4e804 retval:i32
service ikev2_set_ike_transforms ikev2_set_ike_transforms_reply
request ikev2_set_sa_lifetime 7039feaa name:string[64] lifetime:u64 lifetime_jitter:u32
  handover:u32 lifetime_maxdata:u64
reply ikev2_set_sa_lifetime_reply e8d4e804 retval:i32
service ikev2_set_sa_lifetime ikev2_set_sa_lifetime_reply
request ikev2_set_responder a2055df1 name:string[64] responder:ikev2_responder
reply ikev2_set_responder_reply e8d4e804 retval:i32
service ikev2_set_responder ikev2_set_responder_reply
request ikev2_set_tunnel_interface ca67182c name:string[64] sw_if_index:interface_index
reply ikev2_set_tunnel_interface_reply e8d4e804 retval:i32
service ikev2_set_tunnel_interface ikev2_set_tunnel_interface_reply
request ikev2_profile_set_udp_encap ebf79a66 name:string[64]
reply ikev2_profile_set_udp_encap_reply e8d4e804 retval:i32
service ikev2_profile_set_udp_encap ikev2_profile_set_udp_encap_reply
request ikev2_initiate_sa_init ebf79a66 name:string[64]
reply ikev2_initiate_sa_init_reply e8d4e804 retval:i32
service ikev2_initiate_sa_init ikev2_initiate_sa_init_reply
module graph
request graph_node_get 39c8792e cursor:u32 index:u32 name:string[64] flags:node_flag
  want_arcs:bool
reply graph_node_details ac762018 index:u32 name:string[64] flags:node_flag n_arcs:u32
  arcs_out:u32[n_arcs]
reply graph_node_get_reply 53b48f5d retval:i32 cursor:u32
service graph_node_get graph_node_get_reply of graph_node_details

`;
