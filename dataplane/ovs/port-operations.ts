// Transactions on ports and tunnels of this owner's bridge: pure. A port goes with its interface as soon as the bridge
// no longer names it.

import { isLetterOrDigit } from '../../protocols/netlink/check-wire.ts';
import type { OvsdbOperation, Where } from '../../protocols/ovs/ovsdb-operations.ts';
import { insert, mutate, update } from '../../protocols/ovs/ovsdb-operations.ts';
import type { OvsdbAtom, OvsdbMap, OvsdbValue } from '../../protocols/ovs/ovsdb-values.ts';
import { atomsOf, mapOf, namedUuid, setOf, uuid } from '../../protocols/ovs/ovsdb-values.ts';
import type { Owner, PatchNames, PortEnd, TunnelPlace, TunnelUse } from './tags.ts';
import { farIds, ownerIds, portIds, useEntry } from './tags.ts';

export interface BridgeAddress {
  readonly owner: Owner;
  /** Identity of the bridge's row. */
  readonly bridge: string;
}

interface NewInterface {
  readonly name: string;
  /** Absent: the switch's choice. */
  readonly requested?: number;
  readonly ids: OvsdbMap;
  readonly type?: string;
  readonly options?: Readonly<Record<string, string>>;
  /** Makes it an access port of this VLAN. */
  readonly tag?: number;
}

function addInterface(
  { bridge }: BridgeAddress,
  { name, requested, ids, type, options, tag }: NewInterface,
): OvsdbOperation[] {
  const interfaceName = rowName('interface', name);
  const portName = rowName('port', name);
  const row: Record<string, OvsdbValue> = { name, external_ids: ids };
  if (type !== undefined) row['type'] = type;
  if (options !== undefined) row['options'] = mapOf(options);
  if (requested !== undefined) row['ofport_request'] = requested;
  const port: Record<string, OvsdbValue> = { name, interfaces: namedUuid(interfaceName) };
  if (tag !== undefined) {
    port['tag'] = tag;
    port['vlan_mode'] = 'access';
  }
  return [
    insert('Interface', row, interfaceName),
    insert('Port', port, portName),
    mutate(
      'Bridge',
      [['_uuid', '==', uuid(bridge)]],
      [['ports', 'insert', setOf(namedUuid(portName))]],
    ),
  ];
}

/** Each bridge gets its new ports by one mutation: the database copies the set of all its ports for every one. */
export function addedTogether(operations: readonly OvsdbOperation[]): OvsdbOperation[] {
  const together: OvsdbOperation[] = [];
  const byBridge = new Map<string, { readonly where: Where; readonly ports: OvsdbAtom[] }>();
  for (const operation of operations) {
    const ports = portsAdded(operation);
    if (ports === undefined || !('where' in operation)) {
      together.push(operation);
      continue;
    }
    const { where } = operation;
    const bridge = String(where[0]?.[2]);
    const known = byBridge.get(bridge);
    if (known === undefined) byBridge.set(bridge, { where, ports: [...ports] });
    else known.ports.push(...ports);
  }
  for (const { where, ports } of byBridge.values()) {
    together.push(mutate('Bridge', where, [['ports', 'insert', ['set', ports]]]));
  }
  return together;
}

/** Undefined for what does anything else. */
function portsAdded(operation: OvsdbOperation): readonly OvsdbAtom[] | undefined {
  if (operation.op !== 'mutate' || operation.mutations.length !== 1) return undefined;
  const [mutation] = operation.mutations;
  if (mutation?.[0] !== 'ports' || mutation[1] !== 'insert') return undefined;
  return atomsOf(mutation[2]);
}

/** Tells the rows of one transaction apart: letters, digits and underscores. */
function rowName(kind: string, name: string): string {
  let text = `${kind}_`;
  for (let at = 0; at < name.length; at += 1) {
    const unit = name.charCodeAt(at);
    text += isLetterOrDigit(unit) ? name.charAt(at) : `_${unit}_`;
  }
  return text;
}

export function addPort(
  at: BridgeAddress,
  port: {
    readonly name: string;
    readonly requested: number;
    readonly end: PortEnd;
    /** The far end, where it is a patch. */
    readonly peer?: string;
  },
): OvsdbOperation[] {
  const { name, requested, end, peer } = port;
  const patch = peer === undefined ? {} : { type: 'patch', options: { peer } };
  return addInterface(at, { name, requested, ids: portIds(at.owner, end), ...patch });
}

export function addTunnel(
  at: BridgeAddress,
  tunnel: {
    readonly name: string;
    readonly requested: number;
    readonly place: TunnelPlace;
    readonly use: TunnelUse;
  },
): OvsdbOperation[] {
  const { name, requested, place, use } = tunnel;
  const { key, value } = useEntry(use);
  return addInterface(at, {
    name,
    requested,
    ids: mapOf({ ...ownerIds(at.owner), [key]: value }),
    type: 'vxlan',
    options: tunnelOptions(place),
  });
}

/** `key=flow`: the VNI is the flows' affair, so that one tunnel does for every wire to that peer. */
export function tunnelOptions({ localIp, remoteIp, udpPort }: TunnelPlace): Record<string, string> {
  return { local_ip: localIp, remote_ip: remoteIp, dst_port: String(udpPort), key: 'flow' };
}

export function repairTunnel(row: string, place: TunnelPlace): OvsdbOperation[] {
  const options = { type: 'vxlan', options: mapOf(tunnelOptions(place)) };
  return [update('Interface', [['_uuid', '==', uuid(row)]], options)];
}

/** The tag of a wire's port, written anew. */
export function tagPort({ owner }: BridgeAddress, row: string, end: PortEnd): OvsdbOperation[] {
  const where = [['_uuid', '==', uuid(row)] as const];
  return [update('Interface', where, { external_ids: portIds(owner, end) })];
}

/** Adds a use or writes it anew. */
export function setUse(row: string, use: TunnelUse): OvsdbOperation[] {
  const where = [['_uuid', '==', uuid(row)] as const];
  const { key, value } = useEntry(use);
  // Inserting leaves a pair alone whose key is there.
  return [
    mutate('Interface', where, [
      ['external_ids', 'delete', setOf(key)],
      ['external_ids', 'insert', mapOf({ [key]: value })],
    ]),
  ];
}

export function dropUse(row: string, use: TunnelUse): OvsdbOperation[] {
  const where = [['_uuid', '==', uuid(row)] as const];
  return [mutate('Interface', where, [['external_ids', 'delete', setOf(useEntry(use).key)]])];
}

/** From whatever bridge they are on. */
export function dropPorts(ports: readonly string[]): OvsdbOperation[] {
  return ports.map((port) => mutate('Bridge', [], [['ports', 'delete', setOf(uuid(port))]]));
}

/** Whether it takes a port away, as those of `dropPorts`. */
export const isDrop = (operation: OvsdbOperation): boolean =>
  operation.op === 'mutate' &&
  operation.mutations.some(([column, mutator]) => column === 'ports' && mutator === 'delete');

/** The far end of a patch: an access port of a VLAN on another bridge. */
export function addFarEnd(
  owner: Owner,
  far: {
    readonly bridge: string;
    readonly names: PatchNames;
    readonly wireId: string;
    readonly vlanId: number;
  },
): OvsdbOperation[] {
  const { bridge, names, wireId, vlanId } = far;
  return addInterface(
    { owner, bridge },
    {
      name: names.far,
      ids: mapOf(farIds(owner, wireId)),
      type: 'patch',
      options: { peer: names.near },
      tag: vlanId,
    },
  );
}

/** A link of the node on a bridge: the way out of the node. */
export function addUplink(at: BridgeAddress, name: string): OvsdbOperation[] {
  return addInterface(at, { name, ids: mapOf(ownerIds(at.owner)) });
}

/** `secure`: without flows of its own, nothing passes that no wire lets through. `standalone`: it learns. */
export function addBridge(bridge: {
  readonly failMode: 'secure' | 'standalone';
  readonly name: string;
  readonly datapathType: string;
  readonly owner: Owner;
  readonly version: number;
}): OvsdbOperation[] {
  const { name, datapathType, owner, version, failMode } = bridge;
  return [
    insert(
      'Interface',
      { name, type: 'internal', external_ids: mapOf(ownerIds(owner)) },
      'interface',
    ),
    insert('Port', { name, interfaces: namedUuid('interface') }, 'port'),
    insert(
      'Bridge',
      {
        name,
        datapath_type: datapathType,
        fail_mode: failMode,
        external_ids: mapOf({ ...ownerIds(owner), 'vwire-version': String(version) }),
        ports: namedUuid('port'),
      },
      'bridge',
    ),
    mutate('Open_vSwitch', [], [['bridges', 'insert', setOf(namedUuid('bridge'))]]),
  ];
}
