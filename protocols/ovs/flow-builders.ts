// Flow modifications as a data plane writes them: a flow's identity and owner, and the rest by default.
// A flow is one of table, priority and match; its cookie names the owner and is what statistics and deletes go by.

import type { Action, Instruction } from './actions.ts';
import type { FlowFilter, FlowMod } from './flow.ts';
import { groupAny, noBuffer, port, tableAll } from './openflow-constants.ts';
import type { Match, OxmEntry } from './oxm.ts';
import { vlanPresent } from './oxm.ts';

export interface FlowSpec {
  readonly cookie: bigint;
  readonly table?: number;
  readonly priority: number;
  readonly match: Match;
  /** Applied in order; none drops the packet. */
  readonly actions: readonly Action[];
  /** Bits of `flowModFlag`. */
  readonly flags?: number;
  readonly idleTimeoutSeconds?: number;
}

/** Every bit of a cookie counts. */
export const exactCookie = 0xffff_ffff_ffff_ffffn;

const selection = {
  cookieMask: 0n,
  table: 0,
  priority: 0,
  idleTimeoutSeconds: 0,
  hardTimeoutSeconds: 0,
  bufferId: noBuffer,
  outPort: port.any,
  outGroup: groupAny,
  flags: 0,
  match: [],
  instructions: [],
} as const;

function applying(actions: readonly Action[]): Instruction[] {
  return actions.length === 0 ? [] : [{ kind: 'applyActions', actions }];
}

/** Adds the flow, or replaces the one with the same table, priority and match, whoever owns that one. */
export function addFlow(spec: FlowSpec): FlowMod {
  const { actions, ...rest } = spec;
  return { ...selection, command: 'add', ...rest, instructions: applying(actions) };
}

/** Gives the flow with this table, priority, match and cookie other actions; its counters go on. None is no error. */
export function modifyFlow(spec: FlowSpec): FlowMod {
  const { actions, ...rest } = spec;
  return {
    ...selection,
    command: 'modifyStrict',
    ...rest,
    cookieMask: exactCookie,
    instructions: applying(actions),
  };
}

/** Deletes the flow with exactly this table, priority and match, where its cookie is this one. None is no error. */
export function deleteFlow(
  spec: Pick<FlowSpec, 'cookie' | 'table' | 'priority' | 'match'>,
): FlowMod {
  return { ...selection, command: 'deleteStrict', ...spec, cookieMask: exactCookie };
}

/** Deletes every flow whose cookie has the bits of `cookie` under `cookieMask`, in every table. */
export function deleteFlowsByCookie(cookie: bigint, cookieMask = exactCookie): FlowMod {
  return { ...selection, command: 'delete', cookie, cookieMask, table: tableAll };
}

/** Selects flows by cookie, and all flows with a mask of 0. */
export function flowsByCookie(cookie: bigint, cookieMask = exactCookie): FlowFilter {
  return {
    table: tableAll,
    outPort: port.any,
    outGroup: groupAny,
    cookie,
    cookieMask,
    match: [],
  };
}

export const allFlows: FlowFilter = flowsByCookie(0n, 0n);

export function output(number: number): Action {
  return { kind: 'output', port: number, maxLength: 0 };
}

/** Sets the VNI under which a tunnel port with `key=flow` sends. */
export function setTunnelId(vni: number): Action {
  return { kind: 'setField', field: { field: 'tunnelId', value: BigInt(vni) } };
}

/** Puts an 802.1Q tag with this VID (1 to 4094) on the frame. */
export function pushVlanId(vlanId: number): Action[] {
  return [
    { kind: 'pushVlan', ethType: 0x8100 },
    { kind: 'setField', field: { field: 'vlanVid', value: vlanPresent | vlanId } },
  ];
}

export const popVlan: Action = { kind: 'popVlan' };

export function fromPort(number: number): OxmEntry {
  return { field: 'inPort', value: number };
}

export function withTunnelId(vni: number): OxmEntry {
  return { field: 'tunnelId', value: BigInt(vni) };
}

/** Frames tagged with this VID. */
export function withVlanId(vlanId: number): OxmEntry {
  return { field: 'vlanVid', value: vlanPresent | vlanId };
}
