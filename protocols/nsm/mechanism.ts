// Mechanisms: how one end of a wire is made. Names, classes and parameter keys as on the wire (nsm-wire 5.1 of the
// reference), and the choice among a caller's preferences.
// Invariant: parameters are texts; a number that cannot be read counts as 0, which means "not set", as in the reference.

import { create } from '@bufbuild/protobuf';
import { NsmError } from '../errors.ts';
import { type Mechanism, MechanismSchema } from './gen/connection_pb.ts';
import { type ComponentUrl, type NodeAddress, parseUrl } from './urls.ts';

export const mechanismClass = { local: 'LOCAL', remote: 'REMOTE' } as const;
export type MechanismClass = (typeof mechanismClass)[keyof typeof mechanismClass];

export const mechanismType = {
  kernel: 'KERNEL',
  memif: 'MEMIF',
  vfio: 'VFIO',
  noop: 'NOOP',
  vxlan: 'VXLAN',
  wireguard: 'WIREGUARD',
  ipsec: 'IPSEC',
  vlan: 'VLAN',
  srv6: 'SRV6',
} as const;

export const payload = { ip: 'IP', ethernet: 'ETHERNET' } as const;

/** Types whose packets leave the node inside of others. */
const tunnels: readonly string[] = [
  mechanismType.vxlan,
  mechanismType.wireguard,
  mechanismType.ipsec,
];

export const isTunnel = (mechanism: Mechanism | undefined): boolean =>
  tunnels.includes(mechanism?.type ?? '');

/** Whether what it carries for this payload has no Ethernet headers. */
export function carriesPackets(type: string, carried: string): boolean {
  const { wireguard, ipsec, memif } = mechanismType;
  return type === wireguard || type === ipsec || (type === memif && carried !== payload.ethernet);
}

/** Whether it ends in a workload of this node, in a network namespace that may end. */
export const isWorkloadEnd = (mechanism: Mechanism | undefined): boolean =>
  mechanism?.type === mechanismType.kernel || mechanism?.type === mechanismType.memif;

/** Parameter keys; some are shared by several types. */
export const parameterKey = {
  inodeUrl: 'inodeURL',
  name: 'name',
  supportsVlan: 'supportsVlan',
  vlan: 'vlan',
  routeLocalNet: 'routeLocalNet',
  ipTables4NatTemplate: 'IPTables4NatTemplate',
  pciAddress: 'pciAddress',
  tokenId: 'tokenID',
  netnsInode: 'netnsInode',
  socketFile: 'socketfile',
  cgroupDir: 'cgroupDir',
  iommuGroup: 'iommuGroup',
  vfioMajor: 'vfioMajor',
  vfioMinor: 'vfioMinor',
  deviceMajor: 'deviceMajor',
  deviceMinor: 'deviceMinor',
  srcIp: 'src_ip',
  dstIp: 'dst_ip',
  srcPort: 'src_port',
  dstPort: 'dst_port',
  origSrcIp: 'orig_src_ip',
  origDstIp: 'orig_dst_ip',
  vni: 'vni',
  mtu: 'MTU',
  srcPublicKey: 'src_public_key',
  dstPublicKey: 'dst_public_key',
  vlanId: 'vlan-id',
  srcHostIp: 'src_host_ip',
  dstHostIp: 'dst_host_ip',
  srcBsid: 'src_bsid',
  dstBsid: 'dst_bsid',
  srcLocalSid: 'src_localsid',
  dstLocalSid: 'dst_localsid',
  srcHostLocalSid: 'src_host_localsid',
  dstHostLocalSid: 'dst_host_localsid',
  srcHwAddr: 'src_hw_addr',
  dstHwAddr: 'dst_hw_addr',
} as const;

/** The parameter's text; undefined where the key is absent (which differs from an empty text). */
export function parameter(mechanism: Mechanism, key: string): string | undefined {
  return Object.hasOwn(mechanism.parameters, key) ? mechanism.parameters[key] : undefined;
}

/** The `inode://` URLs that the mechanisms name their files by, each once. */
export function inodeUrlsOf(mechanisms: readonly (Mechanism | undefined)[]): readonly string[] {
  const urls = mechanisms.flatMap((each) => (each && parameter(each, parameterKey.inodeUrl)) ?? []);
  return [...new Set(urls)].filter((url) => url.startsWith('inode://'));
}

/** The parameter as an unsigned number of at most `max`; 0 where it is absent or cannot be read. */
export function numberParameter(mechanism: Mechanism, key: string, max: number): number {
  const text = parameter(mechanism, key);
  if (text === undefined || !/^\+?\d{1,10}$/.test(text)) return 0;
  const value = Number(text);
  return value <= max ? value : 0;
}

/** The mechanism with these parameters laid over its own; an undefined value removes the key. */
export function withParameters(
  mechanism: Mechanism,
  changes: Readonly<Record<string, string | undefined>>,
): Mechanism {
  const parameters = { ...mechanism.parameters };
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) delete parameters[key];
    else parameters[key] = value;
  }
  return { ...mechanism, parameters };
}

/** A new mechanism; keys with undefined values are left out. */
export function makeMechanism(
  cls: MechanismClass,
  type: string,
  parameters: Readonly<Record<string, string | undefined>> = {},
): Mechanism {
  return withParameters(create(MechanismSchema, { cls, type }), parameters);
}

/** What a server chooses from. */
export interface MechanismChoice {
  /** `connection.mechanism` of the request: present on a refresh. */
  readonly current: Mechanism | undefined;
  /** `mechanism_preferences`, in the caller's order. */
  readonly preferences: readonly Mechanism[];
  /** Types that this server can make here. */
  readonly supported: readonly string[];
  /** Why it makes none of another type; undefined where there is nothing to say. */
  readonly whyNot?: (type: string) => string | undefined;
}

/**
 * The mechanisms to try in order; the first that works is the answer. A current mechanism is the only choice.
 * Throws UNIMPLEMENTED where nothing is left, naming both sides.
 */
export function mechanismsToTry(choice: MechanismChoice): readonly Mechanism[] {
  const asked = choice.current === undefined ? choice.preferences : [choice.current];
  const usable = asked.filter(({ type }) => choice.supported.includes(type));
  if (usable.length > 0) return usable;
  throw new NsmError('UNIMPLEMENTED', 'none of the mechanisms asked for can be made here', {
    rule: choice.current === undefined ? 'mechanism_preferences' : 'connection.mechanism',
    expected: `one of ${choice.supported.join(', ') || 'none'}`,
    found: asked.map(({ type }) => withReason(choice, type)).join(', ') || 'none',
    remedy:
      choice.current === undefined
        ? 'ask for a mechanism that this forwarder has'
        : 'reselect: the mechanism agreed before is not available any more',
  });
}

function withReason({ whyNot }: MechanismChoice, type: string): string {
  const reason = whyNot?.(type);
  return reason === undefined ? type : `${type} (${reason})`;
}

/** The first mechanism to try. Throws UNIMPLEMENTED as `mechanismsToTry` does. */
export function pickMechanism(choice: MechanismChoice): Mechanism {
  const [first] = mechanismsToTry(choice);
  if (first === undefined) throw new NsmError('INTERNAL', 'no mechanism is left to try');
  return first;
}

/**
 * Which class of mechanism leads to a next hop: LOCAL for a process of this node (`unix`, `inode`, a `memory` name
 * without a node, and `nats` or `memory:<node>/<component>` where its node is `ownNode`), REMOTE for everything else.
 */
export function mechanismClassFor(nextHopUrl: string, ownNode?: NodeAddress): MechanismClass {
  return isOnNode(parseUrl(nextHopUrl), ownNode) ? mechanismClass.local : mechanismClass.remote;
}

function isOnNode(url: ComponentUrl, ownNode: NodeAddress | undefined): boolean {
  switch (url.scheme) {
    case 'unix':
    case 'inode':
      return true;
    case 'nats':
      return url.domain === ownNode?.domain && url.node === ownNode.node;
    case 'memory': {
      // Several nodes of a simulated or single-process mesh share one memory network.
      const end = url.name.indexOf('/');
      return end === -1 || url.name.slice(0, end) === ownNode?.node;
    }
    case 'tcp':
    case 'file':
      return false;
  }
}

/** The preferences that can lead to the next hop. */
export function filterByNextHop(
  preferences: readonly Mechanism[],
  nextHopUrl: string,
  ownNode?: NodeAddress,
): readonly Mechanism[] {
  const cls: string = mechanismClassFor(nextHopUrl, ownNode);
  return preferences.filter((each) => each.cls === cls);
}

/** The preferences with the types named in `priority` first, in its order; the rest keep theirs. */
export function orderByPriority(
  preferences: readonly Mechanism[],
  priority: readonly string[],
): readonly Mechanism[] {
  const rank = ({ type }: Mechanism): number => {
    const at = priority.indexOf(type);
    return at === -1 ? priority.length : at;
  };
  return [...preferences].sort((left, right) => rank(left) - rank(right));
}
