// Numbers of the kernel's netlink interface that vwire uses, by the names of the kernel headers that define them:
// linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h, neighbour.h, pkt_sched.h, pkt_cls.h, net_namespace.h.

/** Socket protocols. */
export const netlinkRoute = 0;
export const netlinkNetfilter = 12;
export const netlinkGeneric = 16;

export const messageType = {
  error: 2,
  done: 3,
  overrun: 4,
  newLink: 16,
  delLink: 17,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  delAddress: 21,
  getAddress: 22,
  newRoute: 24,
  delRoute: 25,
  getRoute: 26,
  newNeighbor: 28,
  delNeighbor: 29,
  getNeighbor: 30,
  newRule: 32,
  delRule: 33,
  getRule: 34,
  newQdisc: 36,
  delQdisc: 37,
  newFilter: 44,
  delFilter: 45,
  getFilter: 46,
  delNamespaceId: 89,
  getNamespaceId: 90,
} as const;

/** RTMGRP_LINK, RTMGRP_NEIGH, RTMGRP_TC and RTNLGRP_NSID as bits of a socket's address. */
export const routeGroup = {
  link: 1,
  neighbor: 1 << 2,
  trafficControl: 1 << 3,
  namespaceId: 1 << 27,
};
/** NFNLGRP_NFTABLES as a bit. */
export const nftablesGroup = 1 << 6;

export const flag = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  dumpInterrupted: 0x10,
  replace: 0x100,
  excl: 0x200,
  create: 0x400,
  append: 0x800,
  dump: 0x300,
} as const;

/** In the flags of an error message: the request is not repeated, extended acknowledgement follows. */
export const errorFlag = { capped: 0x100, acknowledgementTlvs: 0x200 } as const;

export const family = { unspecified: 0, inet: 2, bridge: 7, inet6: 10 } as const;

export const linkAttribute = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  protocolInfo: 12,
  operationalState: 16,
  linkInfo: 18,
  alias: 20,
  statistics64: 23,
  afSpec: 26,
  group: 27,
  namespaceDescriptor: 28,
  extensionMask: 29,
  linkNamespaceId: 37,
} as const;

export const linkInfoAttribute = { kind: 1, data: 2 } as const;
/** RTEXT_FILTER_SKIP_STATS. */
export const skipStatistics = 8;
/** IFLA_INET6_ADDR_GEN_MODE and IN6_ADDR_GEN_MODE_NONE. */
export const addressGenerationMode = { attribute: 8, none: 1 } as const;

export const interfaceFlag = {
  up: 0x1,
  running: 0x40,
  noArp: 0x80,
  promiscuous: 0x100,
  lowerUp: 0x10000,
} as const;

/** IF_OPER_UP (RFC 2863): the link has carrier and its transmit queue works. */
export const operationallyUp = 6;

export const vethPeer = 1;

export const vxlanAttribute = {
  id: 1,
  local: 4,
  learning: 7,
  port: 15,
  local6: 17,
  /** IFLA_VXLAN_UDP_ZERO_CSUM6_RX. */
  zeroChecksum6Receive: 20,
} as const;

export const bridgeAttribute = {
  forwardDelay: 1,
  ageingTime: 4,
  stpState: 5,
  multicastSnooping: 23,
} as const;

/** IFLA_BRPORT_UNICAST_FLOOD, IFLA_BRPORT_MCAST_FLOOD and IFLA_BRPORT_BCAST_FLOOD. */
export const bridgePortAttribute = { unicast: 9, multicast: 27, broadcast: 30 } as const;

export const addressAttribute = { address: 1, local: 2, flags: 8, protocol: 11 } as const;
/** IFA_F_NODAD. */
export const noDuplicateDetection = 0x2;
/** IFA_F_NOPREFIXROUTE is not set: the prefix route is wanted. IFA_F_PERMANENT is set by the kernel. */

export const routeAttribute = {
  destination: 1,
  outputInterface: 4,
  gateway: 5,
  priority: 6,
  preferredSource: 7,
  metrics: 8,
  table: 15,
  via: 18,
} as const;
export const routeTableMain = 254;
export const routeTableLocal = 255;
/** RT_TABLE_UNSPEC: the table stands in an attribute. */
export const routeTableInAttribute = 0;
export const routeScope = { universe: 0, link: 253 } as const;
export const routeTypeUnicast = 1;
/** RTN_THROW: the lookup goes on with the next rule. */
export const routeTypeThrow = 9;
/** RTNH_F_ONLINK. */
export const nextHopOnLink = 4;

/** FRA_ attributes of linux/fib_rules.h; ports are a pair of 16-bit numbers in the machine's own order. */
export const ruleAttribute = {
  source: 2,
  incoming: 3,
  priority: 6,
  mark: 10,
  table: 15,
  protocol: 21,
  ipProtocol: 22,
  sourcePorts: 23,
  destinationPorts: 24,
} as const;
/** FR_ACT_TO_TBL. */
export const ruleActionToTable = 1;

export const neighborAttribute = { destination: 1, linkAddress: 2, port: 6 } as const;
/** NUD_ states of linux/neighbour.h. */
export const neighborState = {
  incomplete: 0x1,
  failed: 0x20,
  noArp: 0x40,
  permanent: 0x80,
} as const;
/** NTF_USE and NTF_SELF. */
export const neighborFlag = { use: 0x1, self: 0x2 } as const;

export const tcAttribute = { kind: 1, options: 2 } as const;
/** TC_H_CLSACT parent and handle, and its ingress block (TC_H_MIN_INGRESS). */
export const clsactParent = 0xfffffff1;
export const clsactHandle = 0xffff0000;
export const ingressBlock = 0xfffffff2;
export const etherTypeAll = 0x0003;

export const namespaceIdAttribute = { id: 1, descriptor: 3 } as const;

/** rtm_protocol and IFA_PROTO of what vwire sets; a number that iproute2's rt_protos leaves free. */
export const vwireProtocol = 0x76;
