// The flows of one wire: pure. One for each direction; what enters at one end leaves by the other and nowhere else.
// The difference between flows that are there and flows that are wanted becomes one bundle, so that packets take the
// old way or the new one.

import type { Action, Instruction } from '../../protocols/ovs/actions.ts';
import { writeInstruction } from '../../protocols/ovs/actions.ts';
import {
  addFlow,
  deleteFlow,
  type FlowSpec,
  fromPort,
  output,
  popVlan,
  pushVlanId,
  setTunnelId,
  withTunnelId,
  withVlanId,
} from '../../protocols/ovs/flow-builders.ts';
import type { FlowMod, FlowStatistics } from '../../protocols/ovs/flow.ts';
import { flowModFlag, port } from '../../protocols/ovs/openflow-constants.ts';
import type { Match } from '../../protocols/ovs/oxm.ts';
import { writeMatch } from '../../protocols/ovs/oxm.ts';
import { WireWriter } from '../../protocols/ovs/wire-bytes.ts';
import type { Side } from './tags.ts';

/** Where packets of one side come from and go to, by port numbers of the bridge. */
export type FlowEnd =
  | {
      readonly kind: 'port';
      readonly number: number;
      /** The workload tags its frames so; the other end gets and sends them without. */
      readonly vlanId?: number;
    }
  | {
      readonly kind: 'tunnel';
      readonly receive: number;
      readonly send: number;
      readonly vni: number;
    };

/** As the reference's forwarder has it. */
const priority = 100;

export interface FlowEnds {
  readonly client: FlowEnd;
  readonly endpoint: FlowEnd;
}

export function wireFlows(cookie: bigint, { client, endpoint }: FlowEnds): Record<Side, FlowSpec> {
  return {
    client: directed(cookie, client, endpoint),
    endpoint: directed(cookie, endpoint, client),
  };
}

function directed(cookie: bigint, from: FlowEnd, to: FlowEnd): FlowSpec {
  const entry = from.kind === 'port' ? from.number : from.receive;
  const flags = flowModFlag.sendFlowRemoved;
  const untagging = from.kind === 'port' && from.vlanId !== undefined ? [popVlan] : [];
  const actions = [...untagging, ...leaving(to, entry)];
  return { cookie, priority, match: [fromPort(entry), ...selecting(from)], actions, flags };
}

/** What of all that enters there is this wire's. */
function selecting(from: FlowEnd): Match {
  if (from.kind === 'tunnel') return [withTunnelId(from.vni)];
  return from.vlanId === undefined ? [] : [withVlanId(from.vlanId)];
}

function leaving(to: FlowEnd, entry: number): readonly Action[] {
  const exit = to.kind === 'port' ? to.number : to.send;
  // A switch sends nothing back to where it came from unless it is told so by this name.
  const out = output(exit === entry ? port.inPort : exit);
  if (to.kind === 'tunnel') return [setTunnelId(to.vni), out];
  return to.vlanId === undefined ? [out] : [...pushVlanId(to.vlanId), out];
}

type PlacedFlow = Pick<FlowSpec, 'cookie' | 'priority' | 'match'> & { readonly table?: number };

/** Table, priority and match: what makes a flow that one and no other. */
export function placeOf({ table = 0, priority: level, match }: PlacedFlow): string {
  return `${table}/${level}/${hexOf(match)}`;
}

function hexOf(match: Match): string {
  const writer = new WireWriter();
  // The switch may name a match's fields in another order.
  writeMatch(
    writer,
    match.toSorted((a, b) => (a.field < b.field ? -1 : 1)),
  );
  return hex(writer.finish());
}

function doingOf(instructions: readonly Instruction[]): string {
  const writer = new WireWriter();
  for (const instruction of instructions) writeInstruction(writer, instruction);
  return hex(writer.finish());
}

const doingOfSpec = ({ actions }: FlowSpec): string => doingOf([{ kind: 'applyActions', actions }]);

const hex = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');

export function isSameFlow(found: FlowStatistics, wanted: FlowSpec): boolean {
  return (
    found.cookie === wanted.cookie &&
    placeOf(found) === placeOf(wanted) &&
    doingOf(found.instructions) === doingOfSpec(wanted)
  );
}

/** What makes the wanted flows of what is there; flows that are right are left alone, with their counters. */
export function flowChanges(
  found: readonly FlowStatistics[],
  wanted: readonly FlowSpec[],
): FlowMod[] {
  const { left, changes } = compare(found, wanted);
  return [...left.map(deleted), ...changes];
}

export interface SwitchOver {
  /** One bundle: from it on the wanted flows stand. */
  readonly changes: readonly FlowMod[];
  /** What ends that are replaced have sent is still on its way through these flows: they go with those ends. */
  readonly leaving: readonly FlowMod[];
}

export function switchOverFlows(
  found: readonly FlowStatistics[],
  wanted: readonly FlowSpec[],
): SwitchOver {
  const { left, changes } = compare(found, wanted);
  const entries = new Set(wanted.map(entryOf));
  // Two flows of one entry could both fit a packet, and nobody knows which would get it.
  const inTheWay = left.filter((flow) => entries.has(entryOf(flow)));
  const leaving = left.filter((flow) => !entries.has(entryOf(flow)));
  return { changes: [...inTheWay.map(deleted), ...changes], leaving: leaving.map(deleted) };
}

function compare(found: readonly FlowStatistics[], wanted: readonly FlowSpec[]) {
  const places = new Map(found.map((flow) => [placeOf(flow), flow]));
  const changes: FlowMod[] = [];
  for (const spec of wanted) {
    const place = placeOf(spec);
    const there = places.get(place);
    places.delete(place);
    if (there === undefined || !isSameFlow(there, spec)) changes.push(addFlow(spec));
  }
  return { left: [...places.values()], changes };
}

/** Where the packets of a flow come in, whatever tag their workload gives them. */
const entryOf = ({ match }: PlacedFlow): string =>
  hexOf(match.filter(({ field }) => field === 'inPort' || field === 'tunnelId'));

/** What takes such changes back. */
export function revertedFlows(
  found: readonly FlowStatistics[],
  wanted: readonly FlowSpec[],
): FlowMod[] {
  const before = new Set(found.map(placeOf));
  const added = wanted.filter((spec) => !before.has(placeOf(spec)));
  return [...added.map(deleted), ...found.map(restored)];
}

function deleted({ cookie, table = 0, priority: level, match }: PlacedFlow): FlowMod {
  return deleteFlow({ cookie, table, priority: level, match });
}

function restored(flow: FlowStatistics): FlowMod {
  const { cookie, table, priority: level, match, flags, instructions } = flow;
  return {
    ...addFlow({ cookie, table, priority: level, match, flags, actions: [] }),
    instructions,
  };
}
