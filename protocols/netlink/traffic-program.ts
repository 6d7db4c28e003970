// An eBPF program that sees everything that enters a link and says where it goes: a bpf filter of a clsact qdisc with
// direct action (linux/pkt_cls.h).
// Invariant: the filter has a fixed handle, so that replacing it swaps the programs atomically.

import type { EncodedMessage, NetlinkMessage, NetlinkNumber } from './codec.ts';
import { parseAttributes, readText, readU32 } from './codec.ts';
import { flag, messageType, tcAttribute } from './constants.ts';
import { ingressFilterMessage, ingressFilterInfo } from './traffic-control.ts';

/** TCA_BPF_*. */
const programAttribute = { descriptor: 6, name: 7, flags: 8, id: 11 } as const;
/** TCA_BPF_FLAG_ACT_DIRECT: what the program returns is the verdict. */
const directAction = 1;
const filterHandle = 1;

export interface FilterProgram {
  /** Instructions, of `protocols/bpf`. */
  readonly program: Uint8Array;
  /** Stands in what a dump gives back: at most 255 bytes. */
  readonly name: string;
}

/** Replaces a program that is there. EINVAL where a filter of another kind is in its place. */
export function setIngressProgram(
  index: NetlinkNumber,
  { program, name }: FilterProgram,
): EncodedMessage {
  const writer = ingressFilterMessage({
    flags: flag.request | flag.ack | flag.create | flag.replace,
    index,
    handle: filterHandle,
  }).textAttribute(tcAttribute.kind, 'bpf');
  writer.nested(tcAttribute.options, () => {
    writer.u32Attribute(programAttribute.descriptor, { program });
    writer.textAttribute(programAttribute.name, name);
    writer.u32Attribute(programAttribute.flags, directAction);
  });
  return writer.finish();
}

/** The name of the program in a dumped filter; undefined where it is none of `setIngressProgram`. */
export function parseIngressProgram(message: NetlinkMessage): string | undefined {
  const { type, payload } = message;
  if (type !== messageType.newFilter || payload.length < 20) return undefined;
  const isOurs = readU32(payload, 8) === filterHandle && readU32(payload, 16) === ingressFilterInfo;
  if (!isOurs) return undefined;
  const attributes = parseAttributes(payload, 20);
  if (readText(attributes.get(tcAttribute.kind)) !== 'bpf') return undefined;
  const options = parseAttributes(attributes.get(tcAttribute.options) ?? new Uint8Array());
  return options.has(programAttribute.id)
    ? readText(options.get(programAttribute.name))
    : undefined;
}
