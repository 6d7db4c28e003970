// Adding what a wire lacks in the switch: ports over its links, patches, tunnels or its use of one that is there.
// Invariants: what was added is taken back whole; a port has the number that was asked for, or its row says another.

import type { OvsdbOperation } from '../../protocols/ovs/ovsdb-operations.ts';
import type { Budget, VxlanEnd, Wire } from '../../protocols/ports/dataplane.ts';
import type { BridgeAddress } from './port-operations.ts';
import { addFarEnd, addPort, addTunnel, setUse } from './port-operations.ts';
import { portRefused, tunnelRefused, vniTaken } from './refusals.ts';
import type { SwitchRows, WireRows } from './switch-rows.ts';
import type { TunnelUse } from './tags.ts';
import { receivingTunnel, tunnelName } from './tags.ts';
import { dropPortsNamed, leaveTunnels } from './drop-parts.ts';
import type { Joinery, NumberOf, TunnelPart, WirePart } from './wire-parts.ts';
import { givenNumbers, hasEnd, sideOf } from './wire-parts.ts';

/** Time for taking back what was done, whatever became of the caller's own. */
export const undoBudget: Budget = { timeoutMs: 5_000 };

export interface Join extends Joinery {
  readonly at: BridgeAddress;
  readonly wire: Wire;
  readonly parts: readonly WirePart[];
  readonly budget: Budget;
}

export type Undos = (() => Promise<unknown>)[];

/**
 * Adds what is missing, and waits until the switch has opened it. `meanwhile` begins as soon as that is asked for and is told
 * which numbers there will be: the switch keeps to what it is asked for where nobody else is faster, and a flow may name
 * a port that is still to come. False where a port has got another number than `meanwhile` was told.
 */
export async function addParts(
  join: Join,
  undos: Undos,
  meanwhile: (numberOf: NumberOf) => Promise<void>,
): Promise<boolean> {
  const { rows, switch: bridge, wire, budget } = join;
  const { names, told, both } = await join.shared.hold(tunnelsOf(join), async () => {
    const { operations, usesAdded, requested } = partsToAdd(join, undos);
    const names = [...requested.keys()];
    undos.push(() => takeBack(join, names, usesAdded));
    // Kept as it is told: a tunnel that another wire is making has not got its number yet, and may get another one.
    const told = new Map<string, number | undefined>();
    for (const { name } of join.parts) {
      const { number, requested: asked } = rows.named(name) ?? {};
      told.set(name, requested.get(name) ?? number ?? asked);
    }
    const expected: NumberOf = (name) => told.get(name) ?? givenNumbers(rows, wire.id)(name);
    const begun = bridge.begin(operations, budget);
    const both = Promise.allSettled([
      begun.then((configuration) => bridge.opened([...told.keys()], configuration, budget)),
      // In the next turn, so that the database is at work already.
      Promise.resolve().then(() => meanwhile(expected)),
    ]);
    // Whoever holds the tunnels next finds their rows; a failure is seen below.
    await begun.catch(() => {});
    return { names, told, both };
  });
  // Neither may go on while what was done is taken back.
  for (const outcome of await both) if (outcome.status === 'rejected') throw outcome.reason;
  for (const name of names) checkOpened(rows, name, wire);
  return [...told].every(([name, number]) => rows.named(name)?.number === number);
}

/** By name the numbers that are asked for. */
function partsToAdd(join: Join, undos: Undos) {
  const { rows, wire, parts, at } = join;
  const before = rows.of(wire.id);
  const missing = parts.filter(({ name }) => rows.named(name) === undefined);
  const numbers = rows.freeNumbers(missing.length);
  const requested = new Map(missing.map(({ name }, index) => [name, numbers[index] ?? 0]));
  const usesAdded: TunnelUse[] = [];
  const operations: OvsdbOperation[] = [];
  for (const part of parts) {
    const isJoined = !hasEnd(before, sideOf(part));
    const number = requested.get(part.name);
    if (part.kind === 'tunnel') checkVni(join, part.end);
    if (number !== undefined) operations.push(...addPart(at, { part, isJoined, number }));
    else if (part.kind === 'tunnel') {
      const use = { ...part.use, isJoined };
      operations.push(...addUse(join, part, use, { undos, usesAdded }));
    }
  }
  return { operations, requested, usesAdded };
}

function addPart(
  at: BridgeAddress,
  one: { readonly part: WirePart; readonly isJoined: boolean; readonly number: number },
): OvsdbOperation[] {
  const { part, isJoined, number: requested } = one;
  const { name } = part;
  if (part.kind === 'tunnel') {
    const { place } = part;
    return addTunnel(at, { name, requested, place, use: { ...part.use, isJoined } });
  }
  const { patch } = part;
  const end = { ...part.end, isJoined };
  if (patch === undefined) return addPort(at, { name, requested, end });
  const far = { ...patch, wireId: end.wireId };
  return [
    ...addPort(at, { name, requested, end, peer: patch.names.far }),
    ...addFarEnd(at.owner, far),
  ];
}

function addUse(
  join: Join,
  part: TunnelPart,
  use: TunnelUse,
  { undos, usesAdded }: { readonly undos: Undos; readonly usesAdded: TunnelUse[] },
): OvsdbOperation[] {
  const row = join.rows.named(part.name);
  if (row === undefined || row.uses.some((each) => isSameUse(each, use))) return [];
  const old = row.uses.find((each) => each.wireId === use.wireId && each.side === use.side);
  if (old === undefined) usesAdded.push(use);
  else undos.push(() => join.switch.begin(setUse(row.uuid, old), undoBudget));
  return setUse(row.uuid, use);
}

const isSameUse = (found: TunnelUse, wanted: TunnelUse): boolean =>
  JSON.stringify({ ...found, isJoined: true }) === JSON.stringify({ ...wanted, isJoined: true });

/** Flows of two wires with one VNI from one peer could not be told apart. */
function checkVni({ rows, owner, wire }: Join, end: VxlanEnd): void {
  const row = rows.named(tunnelName(owner, receivingTunnel(end)));
  const holder = row?.uses.find(
    (use) => use.wireId !== wire.id && use.vni === end.vni && use.localPort === end.localPort,
  );
  if (holder !== undefined) throw vniTaken(wire.id, end.vni, `held by wire ${holder.wireId}`);
}

function checkOpened(rows: SwitchRows, name: string, wire: Wire): void {
  const row = rows.named(name);
  if (row?.number !== undefined) return;
  const found = row?.error ?? 'the switch gave it no number';
  const tunnel = [wire.client, wire.endpoint].find((end) => end.kind === 'vxlan');
  if (tunnel !== undefined && row?.type === 'vxlan') throw tunnelRefused(wire.id, tunnel, found);
  throw portRefused(wire.id, name, found);
}

/** A tunnel made here may by now have other users. */
async function takeBack(
  join: Join,
  added: readonly string[],
  usesAdded: readonly TunnelUse[],
): Promise<void> {
  const { rows, wire } = join;
  await join.shared.hold(tunnelsOf(join), async () => {
    const isMade = ({ row, use }: WireRows['tunnels'][number]): boolean =>
      added.includes(row.name) || usesAdded.some((each) => isSameUse(use, each));
    const tunnels = rows.of(wire.id).tunnels.filter(isMade);
    const ports = added.filter((name) => rows.named(name)?.end !== undefined);
    const operations = [...leaveTunnels(join, tunnels), ...dropPortsNamed(join, ports)];
    await join.switch.begin(operations, undoBudget);
  });
}

export const tunnelsOf = ({ parts }: Pick<Join, 'parts'>): string[] =>
  parts.flatMap(({ kind, name }) => (kind === 'tunnel' ? [name] : []));
