// Transactions on ports and tunnels of this owner's bridge: pure. A port goes with its interface as soon as the bridge
// no longer names it.

import type { OvsdbOperation } from '../../protocols/ovs/ovsdb-operations.ts';
import { insert, mutate, update } from '../../protocols/ovs/ovsdb-operations.ts';
import { mapOf, namedUuid, setOf, uuid } from '../../protocols/ovs/ovsdb-values.ts';
import type { Owner, PortEnd, TunnelPlace, TunnelUse } from './tags.ts';
import { ownerIds, portIds, useEntry } from './tags.ts';

export interface BridgeAddress {
  readonly owner: Owner;
  /** Identity of the bridge's row. */
  readonly bridge: string;
}

interface NewInterface {
  readonly name: string;
  readonly requested: number;
  readonly ids: Readonly<Record<string, string>>;
  readonly type?: string;
  readonly options?: Readonly<Record<string, string>>;
}

/** `position` tells the rows of one transaction apart. */
function addInterface(
  { bridge }: BridgeAddress,
  position: number,
  { name, requested, ids, type = '', options = {} }: NewInterface,
): OvsdbOperation[] {
  const [interfaceName, portName] = [`interface${position}`, `port${position}`];
  const row = {
    name,
    type,
    options: mapOf(options),
    ofport_request: requested,
    external_ids: mapOf(ids),
  };
  return [
    insert('Interface', row, interfaceName),
    insert('Port', { name, interfaces: namedUuid(interfaceName) }, portName),
    mutate(
      'Bridge',
      [['_uuid', '==', uuid(bridge)]],
      [['ports', 'insert', setOf(namedUuid(portName))]],
    ),
  ];
}

export function addPort(
  at: BridgeAddress,
  position: number,
  port: { readonly name: string; readonly requested: number; readonly end: PortEnd },
): OvsdbOperation[] {
  const { name, requested, end } = port;
  return addInterface(at, position, { name, requested, ids: portIds(at.owner, end) });
}

export function addTunnel(
  at: BridgeAddress,
  position: number,
  tunnel: {
    readonly name: string;
    readonly requested: number;
    readonly place: TunnelPlace;
    readonly use: TunnelUse;
  },
): OvsdbOperation[] {
  const { name, requested, place, use } = tunnel;
  const { key, value } = useEntry(use);
  return addInterface(at, position, {
    name,
    requested,
    ids: { ...ownerIds(at.owner), [key]: value },
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
  return [update('Interface', where, { external_ids: mapOf(portIds(owner, end)) })];
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

export function dropPorts({ bridge }: BridgeAddress, ports: readonly string[]): OvsdbOperation[] {
  if (ports.length === 0) return [];
  return [
    mutate(
      'Bridge',
      [['_uuid', '==', uuid(bridge)]],
      [['ports', 'delete', setOf(...ports.map(uuid))]],
    ),
  ];
}

/** A bridge without flows of its own: nothing passes that no wire lets through. */
export function addBridge(bridge: {
  readonly name: string;
  readonly datapathType: string;
  readonly owner: Owner;
  readonly version: number;
}): OvsdbOperation[] {
  const { name, datapathType, owner, version } = bridge;
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
        fail_mode: 'secure',
        external_ids: mapOf({ ...ownerIds(owner), 'vwire-version': String(version) }),
        ports: namedUuid('port'),
      },
      'bridge',
    ),
    mutate('Open_vSwitch', [], [['bridges', 'insert', setOf(namedUuid('bridge'))]]),
  ];
}
