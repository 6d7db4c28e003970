// What the kernel does to frames between the ends of wires and the trunk that leads to VPP. Each end's frames carry the
// index of its link there, in two VLAN tags, so that both directions know all that they need from the frame alone.
// Invariants: nothing has to be allotted, remembered or kept in step with the links; what carries no tags of ours goes
// nowhere.

import {
  add,
  addRegister,
  assemble,
  call,
  copy,
  divide,
  exit,
  jumpIfZero,
  jumpUnlessZero,
  load32,
  mask,
  multiply,
  remainder,
  set,
} from '../../protocols/bpf/instructions.ts';
import { isLittleEndian } from '../../protocols/netlink/codec.ts';

/** Ids of a VLAN: 0 and 4095 mean something else. */
const idsPerTag = 4094;
const idMask = 0xfff;

/** Outer and inner VLAN id of the end with this link. */
export interface BranchTags {
  readonly outer: number;
  readonly inner: number;
}

/** Some 16 million links of a namespace, counting those that are gone. */
export const linkIndexMax = idsPerTag * idsPerTag - 1;

export function branchTags(linkIndex: number): BranchTags {
  return {
    outer: 1 + Math.floor(linkIndex / idsPerTag),
    inner: 1 + (linkIndex % idsPerTag),
  };
}

export const linkOfTags = ({ outer, inner }: BranchTags): number =>
  (outer - 1) * idsPerTag + inner - 1;

/** Of struct __sk_buff (linux/bpf.h). */
const context = { vlanTag: 24, linkIndex: 40 } as const;
/** Of enum bpf_func_id. */
const helpers = { pushVlan: 18, popVlan: 19, redirect: 23 } as const;
/** TC_ACT_SHOT: the frame is dropped. */
const drop = 2;
/** ETH_P_8021Q in network order. */
const vlanProtocol = isLittleEndian ? 0x0081 : 0x8100;

/** On every end: both tags on, then out of the trunk. */
export function branchProgram(trunkIndex: number): Uint8Array {
  const push = [
    add(3, 1),
    copy(1, 6),
    set(2, vlanProtocol),
    call(helpers.pushVlan),
    jumpUnlessZero(0, 'drop'),
  ];
  return assemble([
    copy(6, 1),
    load32(7, 6, context.linkIndex),
    copy(3, 7),
    remainder(3, idsPerTag),
    ...push,
    copy(3, 7),
    divide(3, idsPerTag),
    ...push,
    set(1, trunkIndex),
    set(2, 0),
    call(helpers.redirect),
    exit,
    { here: 'drop' },
    set(0, drop),
    exit,
  ]);
}

/** On the trunk: both tags off, then out of the link that they name. */
export function trunkProgram(): Uint8Array {
  const pop = [copy(1, 6), call(helpers.popVlan), jumpUnlessZero(0, 'drop')];
  return assemble([
    copy(6, 1),
    load32(7, 6, context.vlanTag),
    mask(7, idMask),
    jumpIfZero(7, 'drop'),
    ...pop,
    load32(8, 6, context.vlanTag),
    mask(8, idMask),
    jumpIfZero(8, 'drop'),
    ...pop,
    add(7, -1),
    multiply(7, idsPerTag),
    addRegister(7, 8),
    add(7, -1),
    copy(1, 7),
    set(2, 0),
    call(helpers.redirect),
    exit,
    { here: 'drop' },
    set(0, drop),
    exit,
  ]);
}
