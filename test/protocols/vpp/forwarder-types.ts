// The types of VPP 26.10 that the messages of a forwarder are made of, in the notation of api-notation.ts.

export const forwarderTypes = `
alias address_with_prefix prefix
alias interface_index u32
alias ip4_address u8[4]
alias ip4_address_with_prefix ip4_prefix
alias ip6_address u8[16]
alias ip6_address_with_prefix ip6_prefix
alias mac_address u8[6]
enum acl_action u8 ACL_ACTION_API_DENY=0 ACL_ACTION_API_PERMIT=1 ACL_ACTION_API_PERMIT_REFLECT=2
enum address_family u8 ADDRESS_IP4=0 ADDRESS_IP6=1
enum af_packet_flags u32 AF_PACKET_API_FLAG_QDISC_BYPASS=1 AF_PACKET_API_FLAG_CKSUM_GSO=2
  AF_PACKET_API_FLAG_VERSION_2=8
enum af_packet_mode u32 AF_PACKET_API_MODE_ETHERNET=1 AF_PACKET_API_MODE_IP=2
enum fib_path_flags u32
enum fib_path_nh_proto u32 FIB_API_PATH_NH_PROTO_IP4=0 FIB_API_PATH_NH_PROTO_IP6=1
  FIB_API_PATH_NH_PROTO_MPLS=2 FIB_API_PATH_NH_PROTO_ETHERNET=3
enum fib_path_type u32 FIB_API_PATH_TYPE_NORMAL=0 FIB_API_PATH_TYPE_LOCAL=1
  FIB_API_PATH_TYPE_DROP=2
enum if_status_flags u32 IF_STATUS_API_FLAG_ADMIN_UP=1 IF_STATUS_API_FLAG_LINK_UP=2
enum if_type u32
enum ip_neighbor_flags u8 IP_API_NEIGHBOR_FLAG_STATIC=1 IP_API_NEIGHBOR_FLAG_NO_FIB_ENTRY=2
enum ip_proto u8
enum l2_port_type u32
enum link_duplex u32
enum memif_mode u32 MEMIF_MODE_API_ETHERNET=0 MEMIF_MODE_API_IP=1
enum memif_role u32 MEMIF_ROLE_API_MASTER=0 MEMIF_ROLE_API_SLAVE=1
enum node_flag u32
enum rx_mode u32 RX_MODE_API_POLLING=1 RX_MODE_API_INTERRUPT=2 RX_MODE_API_ADAPTIVE=3
  RX_MODE_API_DEFAULT=4
enum sub_if_flags u32 SUB_IF_API_FLAG_ONE_TAG=2 SUB_IF_API_FLAG_TWO_TAGS=4 SUB_IF_API_FLAG_EXACT_MATCH=16
enum tap_flags u32 TAP_API_FLAG_GSO=1 TAP_API_FLAG_CSUM_OFFLOAD=2 TAP_API_FLAG_PERSIST=4
  TAP_API_FLAG_ATTACH=8 TAP_API_FLAG_TUN=16
enum tunnel_mode u8 TUNNEL_API_MODE_P2P=0 TUNNEL_API_MODE_MP=1
enum wireguard_peer_flags u8 WIREGUARD_PEER_STATUS_DEAD=1 WIREGUARD_PEER_ESTABLISHED=2
union address_union ip4:ip4_address ip6:ip6_address
type acl_rule is_permit:acl_action src_prefix:prefix dst_prefix:prefix proto:ip_proto
  srcport_or_icmptype_first:u16 srcport_or_icmptype_last:u16 dstport_or_icmpcode_first:u16
  dstport_or_icmpcode_last:u16 tcp_flags_mask:u8 tcp_flags_value:u8
type address af:address_family un:address_union
type bridge_domain_sw_if context:u32 sw_if_index:interface_index shg:u8
type fib_mpls_label is_uniform:u8 label:u32 ttl:u8 exp:u8
type fib_path sw_if_index:u32 table_id:u32 rpf_id:u32 weight:u8 preference:u8 type:fib_path_type
  flags:fib_path_flags proto:fib_path_nh_proto nh:fib_path_nh n_labels:u8
  label_stack:fib_mpls_label[16]
type fib_path_nh address:address_union via_label:u32 obj_id:u32 classify_table_index:u32
type ikev2_auth method:u8 hex:u8 data_len:u32 data:u8[data_len]
type ikev2_esp_transforms crypto_alg:u8 crypto_key_size:u32 integ_alg:u8
type ikev2_ike_transforms crypto_alg:u8 crypto_key_size:u32 integ_alg:u8 prf_alg:u8 dh_group:u8
type ikev2_id type:u8 data_len:u8 data:string[64]
type ikev2_profile name:string[64] loc_id:ikev2_id rem_id:ikev2_id loc_ts:ikev2_ts rem_ts:ikev2_ts
  responder:ikev2_responder ike_ts:ikev2_ike_transforms esp_ts:ikev2_esp_transforms lifetime:u64
  lifetime_maxdata:u64 lifetime_jitter:u32 handover:u32 ipsec_over_udp_port:u16 tun_itf:u32
  udp_encap:bool natt_disabled:bool auth:ikev2_auth
type ikev2_responder sw_if_index:interface_index addr:address
type ikev2_ts sa_index:u32 child_sa_index:u32 is_local:bool protocol_id:u8 start_port:u16
  end_port:u16 start_addr:address end_addr:address
type ip4_prefix address:ip4_address len:u8
type ip6_prefix address:ip6_address len:u8
type ip_neighbor sw_if_index:interface_index flags:ip_neighbor_flags mac_address:mac_address
  ip_address:address
type ip_route table_id:u32 stats_index:u32 prefix:prefix n_paths:u8 paths:fib_path[n_paths]
type ip_table table_id:u32 is_ip6:bool name:string[64]
type ipsec_itf user_instance:u32=max mode:tunnel_mode sw_if_index:interface_index
type l3xc sw_if_index:interface_index is_ip6:bool n_paths:u8 paths:fib_path[n_paths]
type message_table_entry index:u16 name:string[64]
type prefix address:address len:u8
type wireguard_interface user_instance:u32=max sw_if_index:interface_index private_key:u8[32]
  public_key:u8[32] port:u16 src_ip:address
type wireguard_peer peer_index:u32 public_key:u8[32] port:u16 persistent_keepalive:u16
  table_id:u32 endpoint:address sw_if_index:interface_index flags:wireguard_peer_flags
  n_allowed_ips:u8 allowed_ips:prefix[n_allowed_ips]
`;
