// The node's side of a wire's end: a link is made, or what it is to have is changed on the one that is kept.
// Invariants: a link is tagged right after it has been made; whatever a program has changed on a kept one it can undo.

import { addVxlanRemote, deleteVxlanRemote } from '../../protocols/netlink/address.ts';
import type { NetlinkNumber } from '../../protocols/netlink/codec.ts';
import { linkAttribute } from '../../protocols/netlink/constants.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { parseIp, parseMac } from '../../protocols/netlink/ip-address.ts';
import {
  changeLink,
  changeLinkByName,
  createVeth,
  createVxlan,
  createWireguard,
  deleteLink,
  deleteLinkByName,
  getLink,
  getLinkByName,
  linkHeaderLength,
} from '../../protocols/netlink/link.ts';
import type { VxlanEnd } from '../../protocols/ports/dataplane.ts';
import { formatTag } from './owner.ts';
import type { ProgramBuilder } from './program-builder.ts';
import { allowSource } from './source-filter.ts';
import type { EndPlan, PlanContext } from './wire-plan.ts';
import type { CurrentWire, EndState } from './wire-state.ts';
import { setTunnel } from './wireguard-tunnel.ts';

/** A replaced VXLAN device with the VNI and port of a new one cannot wait: the kernel allows only one. */
export function removeConflicts(
  program: ProgramBuilder,
  ends: readonly EndPlan[],
  current: CurrentWire,
): void {
  for (const { end, kept } of ends) {
    if (kept !== undefined || end.kind !== 'vxlan') continue;
    for (const { end: old, index, name } of current.replaced) {
      if (old?.kind !== 'vxlan' || old.vni !== end.vni || old.localPort !== end.localPort) continue;
      program.add(`remove ${name}`, deleteLink(index), { tolerate: [errno.noDevice] });
    }
  }
}

export function placeEnd(program: ProgramBuilder, context: PlanContext, plan: EndPlan): void {
  if (plan.end.kind === 'vxlan' && context.filtersSources) {
    program.transaction(allowSource(context.marks.filterTable, plan.end, plan.kept === undefined));
  }
  program.enter();
  if (plan.kept === undefined) createEnd(program, context, plan);
  else adjustEnd(program, context, { ...plan, kept: plan.kept });
}

function createEnd(program: ProgramBuilder, context: PlanContext, plan: EndPlan): void {
  const { end, name } = plan;
  const { group, owner } = context.marks;
  const undo = [deleteLinkByName(name)];
  if (end.kind === 'kernel') {
    const peer = {
      name: end.interfaceName,
      namespaceDescriptor: { namespaceDescriptor: end.netns },
      macAddress: parseMac(end.macAddress),
    };
    const message = createVeth({ name, group, mtu: context.mtu, peer });
    program.add(`create ${end.interfaceName} in ${end.netns}`, message, { undo });
  } else if (end.kind === 'wireguard') {
    const message = createWireguard({ name, group, mtu: context.mtu });
    program.add(`create WireGuard device ${name}`, message, { undo });
  } else {
    const { vni, localPort: port } = end;
    const local = parseIp(end.localIp);
    const message = createVxlan({ name, group, mtu: context.mtu, vni, local, port });
    program.add(`create VXLAN ${vni} on port ${port}`, message, { undo });
  }
  const alias = formatTag(owner, plan.tag);
  program.add(`tag ${name}`, changeLinkByName(name, { alias, isSilentIpv6: true }));
  program.query(`find ${name}`, getLinkByName(name), plan.side);
  if (end.kind === 'vxlan') {
    const message = addVxlanRemote(plan.index, remoteOf(end));
    program.add(`send VXLAN ${end.vni} to ${end.remoteIp}`, message);
  } else if (end.kind === 'wireguard') {
    setTunnel(program, context, { index: plan.index, end });
  }
}

function adjustEnd(
  program: ProgramBuilder,
  context: PlanContext,
  plan: EndPlan & { readonly kept: EndState },
): void {
  const { end, kept, name, index } = plan;
  // Another forwarder may have taken it over since.
  const isKnownOurs = kept.isSettled && kept.taken === undefined;
  program.add(`find ${name}`, getLink(index), isKnownOurs ? { expect: inGroup(context) } : {});
  if (kept.name !== name) renameEnd(program, context, plan);
  if (context.mtu !== kept.mtu) {
    program.add(`set MTU ${context.mtu} on ${name}`, changeLink({ index, mtu: context.mtu }), {
      undo: [changeLink({ index, mtu: kept.mtu })],
    });
  }
  if (end.kind === 'vxlan') moveRemote(program, { index, end, kept });
  if (end.kind === 'wireguard') setTunnel(program, context, { index, end, kept: kept.end });
  const before = kept.taken?.alias ?? formatTag(context.marks.owner, kept.tag);
  const alias = formatTag(context.marks.owner, { ...plan.tag, isDone: kept.tag.isDone });
  const [to, from] = kept.taken === undefined ? [] : [context.marks.group, kept.taken.group];
  if (before !== alias || kept.lostTag === true) {
    program.add(`tag ${name}`, changeLink({ index, alias, ...(to && { group: to }) }), {
      undo: [changeLink({ index, alias: before, ...(from && { group: from }) })],
    });
  }
}

const inGroup = ({ marks }: PlanContext) => ({
  headerLengthBytes: linkHeaderLength,
  attribute: linkAttribute.group,
  value: marks.group,
});

/** Kernels before 6.2 rename no link that is up; it comes up again with the rest. */
function renameEnd(
  program: ProgramBuilder,
  { renamesUp }: PlanContext,
  { kept, name, index }: EndPlan & { readonly kept: EndState },
): void {
  const down = changeLink({ index, isUp: false });
  const up = changeLink({ index, isUp: true });
  if (!renamesUp) program.add(`set ${kept.name} down`, down);
  const back = changeLink({ index, name: kept.name });
  program.add(`rename ${kept.name} to ${name}`, changeLink({ index, name }), {
    undo: renamesUp ? [back] : [down, back, up],
  });
}

function moveRemote(
  program: ProgramBuilder,
  options: { readonly index: NetlinkNumber; readonly end: VxlanEnd; readonly kept: EndState },
): void {
  const { index, end, kept } = options;
  const { remoteIp, remotePort } = kept.tag;
  program.add(`send VXLAN ${end.vni} to ${end.remoteIp}`, addVxlanRemote(index, remoteOf(end)), {
    tolerate: [errno.exists],
    undo: [deleteVxlanRemote(index, remoteOf(end))],
  });
  const isSame = remoteIp === end.remoteIp && remotePort === end.remotePort;
  if (isSame || remoteIp === undefined || remotePort === undefined) return;
  const old = { ip: parseIp(remoteIp), port: remotePort };
  program.add(`send VXLAN ${end.vni} no more to ${remoteIp}`, deleteVxlanRemote(index, old), {
    tolerate: [errno.noEntry],
    undo: [addVxlanRemote(index, old)],
  });
}

const remoteOf = (end: VxlanEnd) => ({ ip: parseIp(end.remoteIp), port: end.remotePort });
