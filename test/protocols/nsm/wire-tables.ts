// The NSM API as facts: every message, field number, name, type, enum value, service and method, written as compact rows
// from the wire contract of the reference (API revision ad7e9c4). The generated descriptors are checked against them.

/** `number name type label`, types as in a .proto file and relative to the package of the message. */
export const messageTable: Readonly<Record<string, readonly string[]>> = {
  'connectioncontext.IpNeighbor': ['1 ip string singular', '2 hardware_address string singular'],
  'connectioncontext.Route': ['1 prefix string singular', '2 nextHop string singular'],
  'connectioncontext.IpFamily': ['1 family Family singular'],
  'connectioncontext.ExtraPrefixRequest': [
    '1 addr_family IpFamily singular',
    '2 prefix_len uint32 singular',
    '3 required_number uint32 singular',
    '4 requested_number uint32 singular',
  ],
  'connectioncontext.PolicyRoute': [
    '1 from string singular',
    '2 proto string singular',
    '3 dst_port string singular',
    '4 src_port string singular',
    '5 routes Route repeated',
  ],
  'connectioncontext.IPContext': [
    '1 src_ip_addrs string repeated',
    '2 dst_ip_addrs string repeated',
    '3 src_ip_required bool singular',
    '4 dst_ip_required bool singular',
    '5 src_routes Route repeated',
    '6 dst_routes Route repeated',
    '7 excluded_prefixes string repeated',
    '8 ip_neighbors IpNeighbor repeated',
    '9 extra_prefix_request ExtraPrefixRequest repeated',
    '10 extra_prefixes string repeated',
    '11 policies PolicyRoute repeated',
  ],
  'connectioncontext.DNSConfig': [
    '1 dns_server_ips string repeated',
    '2 search_domains string repeated',
  ],
  'connectioncontext.DNSContext': ['1 configs DNSConfig repeated'],
  'connectioncontext.EthernetContext': [
    '1 src_mac string singular',
    '2 dst_mac string singular',
    '3 vlan_tag int32 singular',
  ],
  'connectioncontext.ConnectionContext': [
    '1 ip_context IPContext singular',
    '2 dns_context DNSContext singular',
    '3 ethernet_context EthernetContext singular',
    '4 extra_context map<string,string> map',
    '5 MTU uint32 singular',
  ],
  'connection.Mechanism': [
    '1 cls string singular',
    '2 type string singular',
    '3 parameters map<string,string> map',
  ],
  'connection.PathSegment': [
    '1 name string singular',
    '2 id string singular',
    '3 token string singular',
    '4 expires google.protobuf.Timestamp singular',
    '5 metrics map<string,string> map',
  ],
  'connection.Path': ['1 index uint32 singular', '2 path_segments PathSegment repeated'],
  'connection.Connection': [
    '1 id string singular',
    '2 network_service string singular',
    '3 mechanism Mechanism singular',
    '4 context connectioncontext.ConnectionContext singular',
    '5 labels map<string,string> map',
    '6 path Path singular',
    '7 network_service_endpoint_name string singular',
    '8 payload string singular',
    '9 state State singular',
  ],
  'connection.ConnectionEvent': [
    '1 type ConnectionEventType singular',
    '2 connections map<string,Connection> map',
  ],
  'connection.MonitorScopeSelector': [
    '1 path_segments PathSegment repeated',
    '2 network_services string repeated',
  ],
  'networkservice.NetworkServiceRequest': [
    '1 connection connection.Connection singular',
    '2 mechanism_preferences connection.Mechanism repeated',
  ],
  'registry.NetworkService': [
    '1 name string singular',
    '2 payload string singular',
    '3 matches Match repeated',
    '4 path_ids string repeated',
  ],
  'registry.Match': [
    '1 source_selector map<string,string> map',
    '2 routes Destination repeated',
    '3 fallthrough bool singular',
    '4 metadata Metadata singular',
  ],
  'registry.Metadata': ['1 labels map<string,string> map'],
  'registry.Destination': [
    '1 destination_selector map<string,string> map',
    '2 weight uint32 singular',
  ],
  'registry.NetworkServiceLabels': ['1 labels map<string,string> map'],
  'registry.NetworkServiceEndpoint': [
    '1 name string singular',
    '2 network_service_names string repeated',
    '3 network_service_labels map<string,NetworkServiceLabels> map',
    '4 url string singular',
    '5 expiration_time google.protobuf.Timestamp singular',
    '6 initial_registration_time google.protobuf.Timestamp singular',
    '7 path_ids string repeated',
  ],
  'registry.NetworkServiceQuery': [
    '1 network_service NetworkService singular',
    '2 watch bool singular',
  ],
  'registry.NetworkServiceEndpointQuery': [
    '1 network_service_endpoint NetworkServiceEndpoint singular',
    '2 watch bool singular',
  ],
  'registry.NetworkServiceResponse': [
    '1 network_service NetworkService singular',
    '2 deleted bool singular',
  ],
  'registry.NetworkServiceEndpointResponse': [
    '1 network_service_endpoint NetworkServiceEndpoint singular',
    '2 deleted bool singular',
  ],
  'ipam.PrefixRequest': [
    '1 type Type singular',
    '2 prefix string singular',
    '3 exclude_prefixes string repeated',
  ],
  'ipam.PrefixResponse': ['2 prefix string singular', '3 exclude_prefixes string repeated'],
};

/** `NAME=number`. */
export const enumTable: Readonly<Record<string, readonly string[]>> = {
  'connectioncontext.IpFamily.Family': ['IPV4=0', 'IPV6=1'],
  'connection.State': ['UP=0', 'DOWN=1', 'REFRESH_REQUESTED=2', 'RESELECT_REQUESTED=3'],
  'connection.ConnectionEventType': ['INITIAL_STATE_TRANSFER=0', 'UPDATE=1', 'DELETE=2'],
  'ipam.Type': ['UNDEFINED=0', 'ALLOCATE=1', 'DELETE=2'],
};

/** `service method input output kind`. */
export const methodTable: readonly string[] = [
  'networkservice.NetworkService Request networkservice.NetworkServiceRequest connection.Connection unary',
  'networkservice.NetworkService Close connection.Connection google.protobuf.Empty unary',
  'connection.MonitorConnection MonitorConnections connection.MonitorScopeSelector connection.ConnectionEvent server_streaming',
  'registry.NetworkServiceRegistry Register registry.NetworkService registry.NetworkService unary',
  'registry.NetworkServiceRegistry Find registry.NetworkServiceQuery registry.NetworkServiceResponse server_streaming',
  'registry.NetworkServiceRegistry Unregister registry.NetworkService google.protobuf.Empty unary',
  'registry.NetworkServiceEndpointRegistry Register registry.NetworkServiceEndpoint registry.NetworkServiceEndpoint unary',
  'registry.NetworkServiceEndpointRegistry Find registry.NetworkServiceEndpointQuery registry.NetworkServiceEndpointResponse server_streaming',
  'registry.NetworkServiceEndpointRegistry Unregister registry.NetworkServiceEndpoint google.protobuf.Empty unary',
  'ipam.IPAM ManagePrefixes ipam.PrefixRequest ipam.PrefixResponse bidi_streaming',
];
