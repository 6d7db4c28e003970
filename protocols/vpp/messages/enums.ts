// Numbers of the API's enums that a forwarder uses, by the names that VPP 26.10 gives them in its .api files.

/** IF_STATUS_API_FLAG_... */
export const interfaceFlags = { adminUp: 1, linkUp: 2 } as const;
/** SUB_IF_API_FLAG_... */
export const subInterfaceFlags = { oneTag: 2, twoTags: 4, exactMatch: 16 } as const;
/** RX_MODE_API_... */
export const rxMode = { polling: 1, interrupt: 2, adaptive: 3, default: 4 } as const;
/** AF_PACKET_API_MODE_... */
export const afPacketMode = { ethernet: 1, ip: 2 } as const;
/** AF_PACKET_API_FLAG_... */
export const afPacketFlags = { qdiscBypass: 1, checksumAndGso: 2, version2: 8 } as const;
/** TAP_API_FLAG_... */
export const tapFlags = { gso: 1, checksumOffload: 2, persist: 4, attach: 8, tun: 16 } as const;
/** MEMIF_ROLE_API_... */
export const memifRole = { master: 0, slave: 1 } as const;
/** MEMIF_MODE_API_... */
export const memifMode = { ethernet: 0, ip: 1 } as const;
/** ADDRESS_... */
export const addressFamily = { ip4: 0, ip6: 1 } as const;
/** FIB_API_PATH_NH_PROTO_... */
export const fibPathProtocol = { ip4: 0, ip6: 1, mpls: 2, ethernet: 3 } as const;
/** FIB_API_PATH_TYPE_... */
export const fibPathType = { normal: 0, local: 1, drop: 2 } as const;
/** IP_API_NEIGHBOR_FLAG_... */
export const neighborFlags = { static: 1, noFibEntry: 2 } as const;
/** ACL_ACTION_API_... */
export const aclAction = { deny: 0, permit: 1, permitReflect: 2 } as const;
/** WIREGUARD_PEER_... */
export const wireguardPeerFlags = { dead: 1, established: 2 } as const;
/** TUNNEL_API_MODE_... */
export const tunnelMode = { pointToPoint: 0, multipoint: 1 } as const;

/** An index that names nothing, or everything, or asks VPP to choose. */
export const allOnes = 0xffff_ffff;
