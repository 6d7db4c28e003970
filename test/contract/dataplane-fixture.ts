// What a data plane's contract suites need of a node: drivers on it, workloads' namespaces, faults, and a person who
// does harm from outside.

import type { Dataplane, VxlanEnd, Wire, WireguardEnd } from '../../protocols/ports/dataplane.ts';
import type { TunnelKeys } from '../../protocols/ports/tunnel-keys.ts';
import { tunnel } from '../sandbox/wires.ts';

/** An interface as the workload sees it. */
export interface SeenInterface {
  readonly index: number;
  readonly macAddress: string;
  readonly addresses: readonly string[];
  readonly mtu: number;
  /** Absent where nobody looks. */
  readonly asksNeighbors?: boolean;
}

export interface TestNamespace {
  readonly url: string;
  close(): void;
}

/** One node with a data plane that can be restarted, broken and looked at from outside. */
export interface DataplaneFixture {
  /** A new driver on the same node, as a restarted or a second forwarder makes it. */
  driver(owner?: {
    readonly installation?: string;
    readonly forwarder?: string;
    readonly tagVersion?: number;
  }): Dataplane;
  namespace(): TestNamespace;
  interfaceIn(namespace: TestNamespace, name: string): Promise<SeenInterface | undefined>;
  setInterfaceUp(namespace: TestNamespace, name: string, isUp: boolean): Promise<void>;
  /** Gives the workload's interface an address of the workload's own. */
  addAddress?(namespace: TestNamespace, name: string, address: string): Promise<void>;
  /** Names of everything that wires of any owner have on the node. */
  objectCount(): Promise<number>;
  /** Makes objects that no driver made; `foreignCount` says how many are there. */
  addForeign(namespace: TestNamespace): Promise<void>;
  foreignCount(): Promise<number>;
  /** Number of the request or step, of those that drivers do from now on. */
  failAt(position: number): void;
  crashAt(position: number): void;
  hasStruck(): boolean;
  heal(): void;
  /** Does something to the node's side of a wire of the first forwarder, as a person with the right tools may. */
  harm(harm: Harm, wire: Wire, side: 'client' | 'endpoint'): Promise<void>;
  /** The workload deletes its own interface. */
  deleteInterface(namespace: TestNamespace, name: string): Promise<void>;
  /** Harm that a new driver undoes by itself as soon as it finds it. */
  readonly healedAlone?: readonly Harm[];
  /** Local address that tunnels may use. */
  readonly tunnelIp: string;
  /** Where they may lead to, for a data plane that makes no tunnel to itself. */
  readonly remoteTunnelIp?: string;
  /** Of the tunnels that need keys; absent where it makes none. */
  readonly tunnelKeys?: Pick<TunnelKeys, 'wireguardPublicKey'>;
  close(): Promise<void>;
}

/** What somebody can do to a wire. The last two are for tunnels. */
export const harms = [
  'deleted',
  'down',
  'renamed',
  'untagged',
  'unjoined',
  'remoteless',
  'unfiltered',
] as const;
export type Harm = (typeof harms)[number];

export type TunnelKind = 'vxlan' | 'wireguard';

/** One for each number, which another node need not answer. */
export function tunnelFrom(
  { tunnelIp: localIp, remoteTunnelIp: remoteIp = localIp, tunnelKeys }: DataplaneFixture,
  kind: TunnelKind,
  number: number,
): VxlanEnd | WireguardEnd {
  const place = { localIp, remoteIp };
  if (kind === 'vxlan')
    return tunnel({ ...place, localPort: 4788, remotePort: 4789, vni: 9 + number });
  if (tunnelKeys === undefined) throw new Error('this data plane was given no keys');
  const keyName = `own ${number}`;
  return {
    kind,
    ...place,
    localPort: 61_000 + number,
    remotePort: 62_000 + number,
    keyName,
    publicKey: tunnelKeys.wireguardPublicKey(keyName),
    peerPublicKey: tunnelKeys.wireguardPublicKey(`peer ${number}`),
  };
}
