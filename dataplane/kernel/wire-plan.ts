// From a wanted wire and what is there to one program: create what is missing, converge what is kept, switch over.
// NSM concept: the cross connect of a forwarder.
// Invariants: an end that takes over from another is complete before traffic is switched to it, and what it replaces is
// removed only after the program has succeeded; one that nothing was before it has no address until it is joined, so
// that nobody asks there for a neighbour who cannot hear it; the switch is one replaced filter; the client's end is
// kept while it is right.

import type { NetlinkNumber } from '../../protocols/netlink/codec.ts';
import { linkAttribute, operationallyUp } from '../../protocols/netlink/constants.ts';
import { type LinkEnd, linkEndOf } from '../../protocols/netlink/check-wire.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { computeChecksums } from '../../protocols/netlink/ethtool.ts';
import { parseMac } from '../../protocols/netlink/ip-address.ts';
import {
  changeLink,
  getLink,
  getLinkByName,
  linkHeaderLength,
} from '../../protocols/netlink/link.ts';
import type { KernelEnd, Wire } from '../../protocols/ports/dataplane.ts';
import type { TunnelSecrets } from '../../protocols/ports/tunnel-keys.ts';
import { configurationOf, configureEnd } from './configure-end.ts';
import type { CrossConnect } from './cross-connect.ts';
import type { OwnerMarks, Tag } from './owner.ts';
import { formatTag, generationsOf, isNameOf, linkName } from './owner.ts';
import { placeEnd, removeConflicts } from './place-end.ts';
import type { PolicyPlan } from './policy-use.ts';
import type { Program, ProgramBuilder } from './program-builder.ts';
import { buildProgram } from './program-builder.ts';
import type { BridgeState, CurrentWire, EndState, Side } from './wire-state.ts';
import { nothingConfigured, sides } from './wire-state.ts';

export interface PlanContext {
  readonly marks: OwnerMarks;
  /** Undefined where something else than the kernel joins the links of this wire. */
  readonly crossConnect: CrossConnect | undefined;
  /** Set where that something needs checksums from workloads: number of the ethtool family. */
  readonly checksumFamily?: number;
  /** As `Joining.isRouted`; undefined also where this kernel never routes. */
  readonly isRouted?: boolean | undefined;
  /** Undefined where this kernel makes no tunnels of it. */
  readonly wireguard?: WireguardUse | undefined;
  /** Whether nf_tables is there. */
  readonly filtersSources: boolean;
  /** For new devices, and for kept ones where the wire asks for one; 0: the kernel's choice. */
  readonly mtu: number;
  /** Undefined where the client's end neither wants nor may have any. */
  readonly policies: PolicyPlan | undefined;
  /** Whether this kernel renames links that are up. */
  readonly renamesUp: boolean;
}

/** What tunnels of WireGuard are made with. */
export interface WireguardUse {
  /** Number of the generic netlink family. */
  readonly family: number;
  readonly secrets: Pick<TunnelSecrets, 'wireguardPrivateKey'>;
}

export interface WirePlan {
  readonly program: Program;
  /** Where something else joins: what remains to be done after that, given the indexes that the program found. */
  completion(indexes: ReadonlyMap<string, number>): Program;
  /** The state after success, given the indexes that the program found. */
  outcome(indexes: ReadonlyMap<string, number>): {
    readonly client?: EndState;
    readonly endpoint?: EndState;
    readonly bridge?: BridgeState;
  };
}

/** One end while it is planned. */
export interface EndPlan {
  readonly side: Side;
  readonly end: LinkEnd;
  readonly kept: EndState | undefined;
  readonly name: string;
  readonly generation: number;
  readonly tag: Tag;
  /** Index of the node-side link. */
  readonly index: NetlinkNumber;
  /** Index of the workload's interface. */
  readonly peerIndex: NetlinkNumber;
}

export function planWire(context: PlanContext, wire: Wire, current: CurrentWire): WirePlan {
  const program = buildProgram();
  const { crossConnect } = context;
  const ends = sides
    .filter((side) => crossConnect !== undefined || wire[side].kind === 'kernel')
    .map((side) => planEnd(context, wire, current, side));
  removeConflicts(program, ends, current);
  for (const plan of ends) placeEnd(program, context, plan);
  const joint = { context, wire, current, ...endsBySide(ends) };
  const bridge = crossConnect?.prepare(program, joint);
  const isFirst = ({ side, kept }: EndPlan): boolean =>
    kept === undefined && !current.replaced.some((each) => each.side === side);
  for (const plan of ends) {
    if (plan.end.kind !== 'kernel') continue;
    placePeer(program, context, plan, plan.end);
    if (!isFirst(plan)) configurePeer(program, context, plan, plan.end);
  }
  program.enter();
  for (const plan of ends) {
    if (plan.kept?.isSettled === true && plan.kept.name === plan.name) continue;
    // A removal that was interrupted may have left a kept end in the group of links to be deleted.
    const change = { index: plan.index, isUp: true, group: context.marks.group };
    program.add(`set ${plan.name} up`, changeLink(change));
  }
  awaitCarriers(program, ends);
  const complete = (rest: ProgramBuilder, plans: readonly EndPlan[]): void => {
    // The client's last: it is the one that speaks first.
    for (const plan of plans.toReversed()) {
      if (plan.end.kind !== 'kernel') continue;
      rest.enter(plan.end.netns);
      askForNeighbors(rest, context, plan, plan.end);
      if (isFirst(plan)) configurePeer(rest, context, plan, plan.end);
    }
    rest.enter();
    for (const plan of plans) markDone(rest, context, plan);
  };
  if (crossConnect !== undefined) {
    program.enter();
    crossConnect.connect(program, joint);
    complete(program, ends);
  }
  return {
    program: program.finish(),
    completion(indexes) {
      const rest = buildProgram();
      complete(
        rest,
        ends.map((plan) => withIndexes(plan, indexes)),
      );
      return rest.finish();
    },
    outcome(indexes) {
      const states = Object.fromEntries(
        ends.map((plan) => [plan.side, stateOf(context, plan, indexes)]),
      );
      if (bridge === undefined) return states;
      const index = current.bridge?.index ?? indexes.get('bridge') ?? 0;
      return { ...states, bridge: { ...bridge, index } };
    },
  };
}

/** Both are there wherever the kernel joins them. */
function endsBySide(ends: readonly EndPlan[]): Record<Side, EndPlan> {
  return Object.fromEntries(ends.map((plan) => [plan.side, plan])) as Record<Side, EndPlan>;
}

/** For a program of its own, which knows no register of the one before. */
function withIndexes(plan: EndPlan, indexes: ReadonlyMap<string, number>): EndPlan {
  const { side, index, peerIndex } = plan;
  return {
    ...plan,
    index: indexes.get(side) ?? index,
    peerIndex: indexes.get(`${side} peer`) ?? peerIndex,
  };
}

function planEnd(context: PlanContext, wire: Wire, current: CurrentWire, side: Side): EndPlan {
  const end = linkEndOf(wire, side);
  const kept = current[side];
  const tag = tagFor(context.marks.tagVersion, wire.id, { side, end });
  if (kept !== undefined) {
    const { generation, index, peerIndex = 0 } = kept;
    const choice = { role: side, generation, attempt: current.attempt };
    const isOurs = isNameOf(context.marks, side, kept.name);
    const name = isOurs ? kept.name : linkName(context.marks, wire.id, choice);
    return { side, end, kept, name, generation, tag, index, peerIndex };
  }
  const taken = new Set(
    current.replaced.filter((state) => state.side === side).map((state) => state.generation),
  );
  let generation = 0;
  while (taken.has(generation) && generation + 1 < generationsOf(side)) generation++;
  const name = linkName(context.marks, wire.id, {
    role: side,
    generation,
    attempt: current.attempt,
  });
  const index = { register: side };
  return { side, end, kept, name, generation, tag, index, peerIndex: { register: `${side} peer` } };
}

function tagFor(
  version: number,
  wireId: string,
  { side, end }: { readonly side: Side; readonly end: LinkEnd },
): Tag {
  const base = { version, wireId, role: side, isDone: false };
  return end.kind === 'kernel'
    ? { ...base, interfaceName: end.interfaceName, macAddress: end.macAddress.toLowerCase() }
    : { ...base, remoteIp: end.remoteIp, remotePort: end.remotePort };
}

function placePeer(
  program: ProgramBuilder,
  context: PlanContext,
  plan: EndPlan,
  end: KernelEnd,
): void {
  const { kept, peerIndex: index } = plan;
  program.enter(end.netns);
  if (kept === undefined) {
    const register = `${plan.side} peer`;
    program.query(`find ${end.interfaceName}`, getLinkByName(end.interfaceName), register);
    program.add(`set ${end.interfaceName} up`, changeLink({ index, isUp: true }));
  } else {
    // The URL may lead to another namespace than when the end was made; then this is another interface.
    program.add(`find ${end.interfaceName}`, getLink(index), {
      expect: {
        headerLengthBytes: linkHeaderLength,
        attribute: linkAttribute.link,
        value: kept.index,
      },
    });
    const { interfaceName, macAddress, isDone } = kept.tag;
    // Once the end has been finished, up or down is the workload's own affair.
    if (!isDone) program.add(`set ${end.interfaceName} up`, changeLink({ index, isUp: true }));
    if (interfaceName !== end.interfaceName) {
      const change = changeLink({ index, name: end.interfaceName });
      program.add(`rename ${interfaceName} to ${end.interfaceName}`, change, {
        undo:
          interfaceName === undefined ? undefined : [changeLink({ index, name: interfaceName })],
      });
    }
    if (macAddress !== end.macAddress.toLowerCase()) {
      const change = changeLink({ index, macAddress: parseMac(end.macAddress) });
      program.add(`set the MAC of ${end.interfaceName}`, change, {
        undo:
          macAddress === undefined
            ? undefined
            : [changeLink({ index, macAddress: parseMac(macAddress) })],
      });
    }
    if (context.mtu !== kept.mtu) {
      const undo = [changeLink({ index, mtu: kept.mtu })];
      const change = changeLink({ index, mtu: context.mtu });
      program.add(`set MTU ${context.mtu} on ${end.interfaceName}`, change, { undo });
    }
  }
  if (context.checksumFamily !== undefined) {
    const message = computeChecksums(context.checksumFamily, index);
    program.addGeneric(`have ${end.interfaceName} compute its checksums`, message);
  }
}

function configurePeer(
  program: ProgramBuilder,
  context: PlanContext,
  { side, kept, peerIndex: index }: EndPlan,
  end: KernelEnd,
): void {
  configureEnd(program, end, index, kept?.configuration ?? nothingConfigured);
  if (side === 'client') context.policies?.configure(program, end, index);
}

/** Only once the way is joined: before, it may lead to where neighbours answer, or not yet to where they do. */
function askForNeighbors(
  program: ProgramBuilder,
  { isRouted }: PlanContext,
  { kept, peerIndex: index }: EndPlan,
  { interfaceName }: KernelEnd,
): void {
  // A new interface asks.
  if (isRouted === undefined || (kept?.isRouted ?? (kept ? undefined : false)) === isRouted) return;
  const what = isRouted ? 'ask for no neighbours' : 'ask for neighbours';
  const undo =
    kept?.isRouted === undefined ? undefined : [changeLink({ index, asksNeighbors: isRouted })];
  const message = changeLink({ index, asksNeighbors: !isRouted });
  program.add(`have ${interfaceName} ${what}`, message, { undo });
}

/** How long the kernel may take to notice that both sides of a new veth are up; it takes well under a millisecond. */
const carrierWithinMs = 250;

/**
 * The side that came up first sends only after a work queue of the kernel (linkwatch) has run; until then it
 * drops, and a dropped ARP request costs a second. So nothing is switched to a new veth before both sides send.
 */
function awaitCarriers(program: ProgramBuilder, ends: readonly EndPlan[]): void {
  const options = {
    expect: {
      headerLengthBytes: linkHeaderLength,
      attribute: linkAttribute.operationalState,
      value: operationallyUp,
      withinMs: carrierWithinMs,
    },
    tolerate: [errno.timedOut],
  };
  const made = ends.flatMap(({ end, kept, ...links }) =>
    end.kind === 'kernel' && kept === undefined ? [{ end, ...links }] : [],
  );
  program.enter();
  for (const { name, index } of made) program.add(`wait for ${name}`, getLink(index), options);
  for (const { end, peerIndex } of made) {
    program.enter(end.netns);
    program.add(`wait for ${end.interfaceName}`, getLink(peerIndex), options);
  }
}

/** The last step: from now on the end counts as whole. */
function markDone(program: ProgramBuilder, context: PlanContext, plan: EndPlan): void {
  const { owner } = context.marks;
  const alias = formatTag(owner, { ...plan.tag, isDone: true });
  if (plan.kept !== undefined && formatTag(owner, plan.kept.tag) === alias) return;
  program.add(`mark ${plan.name} as made`, changeLink({ index: plan.index, alias }));
}

function stateOf(
  context: PlanContext,
  plan: EndPlan,
  indexes: ReadonlyMap<string, number>,
): EndState {
  const { side, generation, name, end, kept } = plan;
  const tag = { ...plan.tag, isDone: true };
  const index = kept?.index ?? indexes.get(side) ?? 0;
  const state = { side, generation, name, index, tag, end, mtu: context.mtu, isSettled: true };
  if (end.kind !== 'kernel') return { ...state, configuration: nothingConfigured };
  const peerIndex = kept?.peerIndex ?? indexes.get(`${side} peer`) ?? 0;
  const { isRouted } = context;
  return { ...state, peerIndex, isRouted, configuration: configurationOf(end) };
}
