// Taking ports and tunnels of wires out of the switch: what a transaction has to do.

import type { OvsdbOperation } from '../../protocols/ovs/ovsdb-operations.ts';
import { dropPorts, dropUse } from './port-operations.ts';
import type { PortRow, WireRows } from './switch-rows.ts';
import { farNameOf, type TunnelUse } from './tags.ts';
import type { Joinery } from './wire-parts.ts';

/** A tunnel goes with the last that used it. */
export function leaveTunnels(joinery: Joinery, left: WireRows['tunnels']): OvsdbOperation[] {
  const leaving = new Map<PortRow, TunnelUse[]>();
  for (const { row, use } of left) leaving.set(row, [...(leaving.get(row) ?? []), use]);
  return [...leaving].flatMap(([row, uses]) =>
    uses.length === row.uses.length
      ? dropPortsNamed(joinery, [row.name])
      : uses.flatMap((use) => dropUse(row.uuid, use)),
  );
}

/** A patch goes with its far end. */
export function dropPortsNamed({ rows }: Joinery, names: readonly string[]): OvsdbOperation[] {
  const all = names.flatMap((name) => [name, farNameOf(name) ?? name]);
  return dropPorts([...new Set(all)].flatMap((name) => rows.portId(name) ?? []));
}
