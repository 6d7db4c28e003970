// Redirecting everything that enters one link out of another: a clsact qdisc and one u32 filter that matches
// every packet, with a mirred action (linux/pkt_sched.h, pkt_cls.h, tc_act/tc_mirred.h). Where it leads out of a link
// without Ethernet headers mirred leaves them off; where it leads from such a link into one that has them an action of
// kind vlan puts them on first (tc_act/tc_vlan.h).
// Invariant: the filter has a fixed handle, so that replacing it swaps the target atomically.

import type { EncodedMessage, NetlinkMessage, NetlinkNumber } from './codec.ts';
import { NetlinkWriter, parseAttributeList, parseAttributes, readText, readU32 } from './codec.ts';
import {
  clsactHandle,
  clsactParent,
  etherTypeAll,
  flag,
  ingressBlock,
  messageType,
  tcAttribute,
} from './constants.ts';

const acknowledged = flag.request | flag.ack;
/** Bucket 0 of the root hash table 800:, first node: what the kernel itself would choose for the first filter. */
const filterHandle = 0x80000800;
const filterPriority = 1;
/** TCA_U32_*. */
const u32Attribute = { selector: 5, action: 7 } as const;
/** TCA_ACT_*, TCA_MIRRED_PARMS. */
const actionAttribute = { kind: 1, options: 2 } as const;
const mirredParameters = 2;
/** TCA_VLAN_PARMS, TCA_VLAN_PUSH_ETH_DST and TCA_VLAN_PUSH_ETH_SRC. */
const vlanAttribute = { parameters: 2, destination: 7, source: 8 } as const;
/** TCA_VLAN_ACT_PUSH_ETH, since Linux 5.10. */
const pushEthernet = 5;
/** TC_U32_TERMINAL. */
const terminal = 1;
/** TCA_EGRESS_REDIR, TC_ACT_PIPE and TC_ACT_STOLEN. */
const egressRedirect = 1;
const actionPipe = 3;
const actionStolen = 4;

/** tcmsg: family u8, pads, index i32, handle u32, parent u32, info u32. */
function tcMessage(options: {
  readonly type: number;
  readonly flags: number;
  readonly index: NetlinkNumber;
  readonly handle: number;
  readonly parent: number;
  readonly info?: number;
}): NetlinkWriter {
  return new NetlinkWriter(options.type, options.flags)
    .zeros(4)
    .u32(options.index)
    .u32(options.handle)
    .u32(options.parent)
    .u32(options.info ?? 0);
}

/** Adds the hook that filters hang on; with the link it goes away. */
export function addClsact(index: NetlinkNumber): EncodedMessage {
  return tcMessage({
    type: messageType.newQdisc,
    flags: acknowledged | flag.create,
    index,
    handle: clsactHandle,
    parent: clsactParent,
  })
    .textAttribute(tcAttribute.kind, 'clsact')
    .finish();
}

/** Of the one filter that a link of ours has. */
export const ingressFilterInfo = (filterPriority << 16) | swap16(etherTypeAll);

/** A message about that filter, without its kind. */
export function ingressFilterMessage(options: {
  readonly flags: number;
  readonly index: NetlinkNumber;
  readonly handle: number;
}): NetlinkWriter {
  const { newFilter: type } = messageType;
  return tcMessage({ ...options, type, parent: ingressBlock, info: ingressFilterInfo });
}

/** What a packet without an Ethernet header gets: two addresses, and the type that fits. */
export interface AddedHeader {
  readonly destination: Uint8Array;
  readonly source: Uint8Array;
}

/** Sends everything that enters `index` out of `target`; replaces a redirect that is there. */
export function setRedirect(
  index: NetlinkNumber,
  target: NetlinkNumber,
  added?: AddedHeader,
): EncodedMessage {
  const writer = ingressFilterMessage({
    flags: acknowledged | flag.create | flag.replace,
    index,
    handle: filterHandle,
  }).textAttribute(tcAttribute.kind, 'u32');
  writer.nested(tcAttribute.options, () => {
    // tc_u32_sel: flags, offset shift, number of keys, pad (u8), then offsets and hash mask, then the keys
    // (mask, value, offset, offset mask): one key with mask 0 matches everything.
    writer.attribute(u32Attribute.selector, () =>
      writer.u8(terminal).u8(0).u8(1).u8(0).zeros(12).zeros(16),
    );
    writer.nested(u32Attribute.action, () => {
      if (added !== undefined) writePushEthernet(writer, 1, added);
      writeMirred(writer, added === undefined ? 1 : 2, target);
    });
  });
  return writer.finish();
}

/** Actions are run by their position. Both begin with tc_gen: index, capability, action, reference count, bind count. */
function writePushEthernet(writer: NetlinkWriter, position: number, added: AddedHeader): void {
  writer.nested(position, () => {
    writer.textAttribute(actionAttribute.kind, 'vlan');
    writer.nested(actionAttribute.options, () =>
      writer
        .attribute(vlanAttribute.parameters, () =>
          writer.zeros(8).u32(actionPipe).zeros(8).u32(pushEthernet),
        )
        .bytesAttribute(vlanAttribute.destination, added.destination)
        .bytesAttribute(vlanAttribute.source, added.source),
    );
  });
}

function writeMirred(writer: NetlinkWriter, position: number, target: NetlinkNumber): void {
  writer.nested(position, () => {
    writer.textAttribute(actionAttribute.kind, 'mirred');
    writer.nested(actionAttribute.options, () =>
      // After tc_gen: kind of redirect, target.
      writer.attribute(mirredParameters, () =>
        writer.zeros(8).u32(actionStolen).zeros(8).u32(egressRedirect).u32(target),
      ),
    );
  });
}

/** Removes every filter, of whatever kind and priority. */
export function deleteIngressFilters(index: NetlinkNumber): EncodedMessage {
  return tcMessage({
    type: messageType.delFilter,
    flags: acknowledged,
    index,
    handle: 0,
    parent: ingressBlock,
  }).finish();
}

export function dumpIngressFilters(index: NetlinkNumber): EncodedMessage {
  return tcMessage({
    type: messageType.getFilter,
    flags: flag.request | flag.dump,
    index,
    handle: 0,
    parent: ingressBlock,
  }).finish();
}

/** The index that a dumped filter redirects to; undefined where it is none of `setRedirect`. */
export function parseRedirectTarget(message: NetlinkMessage): number | undefined {
  if (message.type !== messageType.newFilter || message.payload.length < 20) return undefined;
  const isOurs =
    readU32(message.payload, 8) === filterHandle &&
    readU32(message.payload, 16) === ingressFilterInfo;
  if (!isOurs) return undefined;
  const options = parseAttributes(message.payload, 20).get(tcAttribute.options);
  const actions = parseAttributes(options ?? new Uint8Array()).get(u32Attribute.action);
  for (const [, action] of parseAttributeList(actions ?? new Uint8Array())) {
    const attributes = parseAttributes(action);
    if (readText(attributes.get(actionAttribute.kind)) !== 'mirred') continue;
    const mirred = parseAttributes(attributes.get(actionAttribute.options) ?? new Uint8Array());
    return readU32(mirred.get(mirredParameters), 24);
  }
  return undefined;
}

/** The lower half of tcm_info is the protocol in network order, held in a host-order integer. */
function swap16(value: number): number {
  return new DataView(new Uint16Array([value]).buffer).getUint16(0);
}
