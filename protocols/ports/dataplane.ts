// What a forwarder asks of a data plane: make a wire so, take a wire away, say what is there.
// Every operation is idempotent, tagged with the installation and the forwarder (given to the driver when it is
// made) and the wire's id, and undoes itself when it fails half way. The client's end of a wire is never
// replaced while the wire exists: `ensure` with another endpoint end retargets it atomically.

import type { MemifSocket } from '../nsm/memif-mechanism.ts';

/** How long a data-plane operation may take. */
export interface Budget {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** A route on one end of a wire. */
export interface WireRoute {
  /** Destination in CIDR form. */
  readonly prefix: string;
  /** Absent: the destination is on the link itself. */
  readonly gateway?: string;
}

/** First and last port. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Packets of a workload that take routes of their own. What is absent does not matter. */
export interface WirePolicy {
  /** Source in CIDR form; its family is the policy's. */
  readonly from?: string;
  readonly ipProtocol?: number;
  readonly sourcePorts?: PortRange;
  readonly destinationPorts?: PortRange;
  /** Of the policy's family, at least one. */
  readonly routes: readonly WireRoute[];
}

/** An interface in a workload's network namespace. */
export interface KernelEnd {
  readonly kind: 'kernel';
  /** `file://` or `inode://<dev>/<ino>` URL of the namespace. */
  readonly netns: string;
  /** At most 15 bytes. */
  readonly interfaceName: string;
  /** Locally administered, derived: `protocols/nsm/derived-mac.ts`. */
  readonly macAddress: string;
  /** CIDR strings. */
  readonly addresses: readonly string[];
  readonly routes: readonly WireRoute[];
  readonly neighbors: readonly { readonly ip: string; readonly macAddress: string }[];
  /** The first that fits a packet decides. Absent: none. */
  readonly policies?: readonly WirePolicy[];
  /** The workload tags its frames with this 802.1Q id, 1 to 4094. Absent: it does not. */
  readonly vlanId?: number;
}

/** Both ends of a tunnel over UDP. */
interface UdpTunnel {
  readonly localIp: string;
  readonly remoteIp: string;
  /** UDP port that this node listens on. */
  readonly localPort: number;
  /** UDP port that the other node listens on. */
  readonly remotePort: number;
}

/** A VXLAN tunnel to another node's forwarder. */
export interface VxlanEnd extends UdpTunnel {
  readonly kind: 'vxlan';
  readonly vni: number;
}

/** A VLAN of a network outside of the mesh, which others may be in as well. */
export interface VlanEnd {
  readonly kind: 'vlan';
  /** 1 to 4094. */
  readonly vlanId: number;
  /** Which of the node's networks: the connection's label `via`. */
  readonly via: string;
}

/** Shared memory with a workload that drives its own end. */
export interface MemifEnd {
  readonly kind: 'memif';
  readonly socket: MemifSocket;
  /** The master makes the socket, the slave connects to it: towards the client a forwarder is the master. */
  readonly role: 'master' | 'slave';
  /** What goes through it follows from the payload. */
  readonly mode: 'ip' | 'ethernet';
}

/** A WireGuard tunnel to another node's forwarder: any address may come through, keepalive every 10 s. */
export interface WireguardEnd extends UdpTunnel {
  readonly kind: 'wireguard';
  /** By which the data plane finds the private key: `TunnelSecrets.wireguardPrivateKey`. */
  readonly keyName: string;
  /** Base64 of the public key that belongs to it. */
  readonly publicKey: string;
  /** Base64. */
  readonly peerPublicKey: string;
}

/** An IPsec tunnel to another node's forwarder; what IKEv2 is to ask for: `protocols/nsm/ipsec-mechanism.ts`. */
export interface IpsecEnd extends UdpTunnel {
  readonly kind: 'ipsec';
  /** Base64 of the DER; its private key is `TunnelSecrets.ipsecPrivateKey`. */
  readonly certificate: string;
  readonly peerCertificate: string;
  /** IKEv2 identities, of type FQDN. */
  readonly identity: string;
  readonly peerIdentity: string;
  /** What both ends call the traffic between them: addresses at this and at the other end of the wire. '' for any. */
  readonly nearAddress: string;
  readonly farAddress: string;
  /** The node nearer to the client begins. */
  readonly initiates: boolean;
}

export type WireEnd = KernelEnd | MemifEnd | VxlanEnd | WireguardEnd | IpsecEnd | VlanEnd;

/** One vWire as one forwarder sees it. */
export interface Wire {
  /** The forwarder's own path segment id. */
  readonly id: string;
  readonly payload: 'IP' | 'ETHERNET';
  /** MTU of both ends in bytes; 0 leaves the driver's choice. */
  readonly mtu: number;
  /** Towards the client. */
  readonly client: WireEnd;
  /** Towards the Endpoint. */
  readonly endpoint: WireEnd;
  /** Whose wire this one takes the place of: what is there of it is taken over where its client's end is the same. */
  readonly replaces?: ReplacedWire;
  /**
   * False: no interface is made in a workload's namespace. What is missing beside is put back; where one of those is,
   * `ensure` changes nothing and throws FAILED_PRECONDITION with `interfaceGoneRule`. Default true.
   */
  readonly makesInterfaces?: boolean;
}

/** Made by another forwarder of the same installation. */
export interface ReplacedWire {
  readonly forwarder: string;
  readonly id: string;
}

/** What `list` found under one wire's tag. */
export interface ObservedWire {
  readonly id: string;
  /** Format version of the tag. */
  readonly version: number;
  /** False where a part is missing: `ensure` completes it, `remove` takes the rest away. */
  readonly complete: boolean;
  /** What is missing or not as it was made, one line each, for people. */
  readonly missing: readonly string[];
  /** False where a later version of vwire wrote the tag: it must be left alone. */
  readonly readable: boolean;
  /** Names of the objects found, for people. */
  readonly objects: readonly string[];
}

export interface WireCounters {
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
  readonly rxPackets: bigint;
  readonly txPackets: bigint;
  readonly drops: bigint;
}

/** Counters as the workloads see them: rx is what the workload received. */
export interface WireStatistics {
  readonly client?: WireCounters;
  readonly endpoint?: WireCounters;
}

/** What a data plane can do here, found out by trying. */
export interface DataplaneCapabilities {
  /** Mechanism types usable on this machine, for example KERNEL, VXLAN. */
  readonly mechanisms: readonly string[];
  /** One line per feature that is missing, with what follows from it. A line on a mechanism begins `TYPE: `. */
  readonly missing: readonly string[];
}

/**
 * Something happened to a wire that this driver did not do. `namespaceGone`: the workload's namespace has ended, so the
 * end of the wire is of no use to anybody. `damaged`: somebody took away or changed what is ours, `ensure` puts it back;
 * told once until then. `linkDown`, `linkUp`: an end carries nothing, or again.
 */
export type DataplaneEvent =
  | {
      readonly kind: 'namespaceGone' | 'linkDown' | 'linkUp';
      readonly wireId: string;
      readonly side: 'client' | 'endpoint';
    }
  | {
      readonly kind: 'damaged';
      readonly wireId: string;
      /** One line for each thing that is missing or not as it was made. */
      readonly found: readonly string[];
    };

/** `details.rule` where `ensure` found no namespace at one of the ends. */
export const namespaceRules = {
  client: 'namespace of the client',
  endpoint: 'namespace of the Endpoint',
} as const;

/** `details.rule` of ALREADY_EXISTS where another forwarder of this installation has taken the wire over. */
export const takenOverRule = 'taken over';

/** `details.rule` where `ensure` would have to make the interface of a workload, and may not. */
export const interfaceGoneRule = 'interface of a workload';

export interface Dataplane {
  readonly kind: 'kernel' | 'ovs' | 'vpp' | 'simulated';
  probe(budget: Budget): Promise<DataplaneCapabilities>;
  /**
   * Creates, completes, repairs or retargets the wire. Errors: NOT_FOUND (namespace, with a rule of `namespaceRules`),
   * INVALID_ARGUMENT (name, address), ALREADY_EXISTS (interface name taken, or VNI taken with `rule: 'vni'`),
   * UNIMPLEMENTED (mechanism), FAILED_PRECONDITION (a later version of vwire made it; as `makesInterfaces` says).
   */
  ensure(wire: Wire, budget: Budget): Promise<void>;
  /**
   * Removes everything under these ids; an unknown id is no error. `namespaces` are those of clients with policies whose
   * wires this driver has not ensured in its life, by wire id: nothing else leads there.
   */
  remove(
    ids: readonly string[],
    budget: Budget,
    namespaces?: ReadonlyMap<string, string>,
  ): Promise<void>;
  list(budget: Budget): Promise<readonly ObservedWire[]>;
  /**
   * What is missing of the wire, or not as the driver made it: empty where it is whole. Looks at the node's own side
   * alone; what a workload does to its interface is its own affair.
   */
  inspect(id: string, budget: Budget): Promise<readonly string[]>;
  statistics(ids: readonly string[], budget: Budget): Promise<ReadonlyMap<string, WireStatistics>>;
  watch(listener: (event: DataplaneEvent) => void): () => void;
  close(): Promise<void>;
}
