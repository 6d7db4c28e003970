// A workload that tags what it sends and takes what is tagged so, without VLAN devices, which not every kernel has: by
// programs of its own at its interface.

import {
  add,
  assemble,
  call,
  copy,
  exit,
  jumpUnlessZero,
  load32,
  mask,
  set,
} from '../../../protocols/bpf/instructions.ts';
import { isLittleEndian, type EncodedMessage } from '../../../protocols/netlink/codec.ts';
import { getLinkByName } from '../../../protocols/netlink/link.ts';
import { addClsact } from '../../../protocols/netlink/traffic-control.ts';
import { setIngressProgram } from '../../../protocols/netlink/traffic-program.ts';
import type { NetlinkRequest } from '../../../protocols/ports/netlink.ts';

/** Of enum bpf_func_id, struct __sk_buff and the verdicts of filters (linux/bpf.h, linux/pkt_cls.h). */
const [pushVlan, popVlan, tagOffset, pass, drop] = [18, 19, 24, 0, 2];
const vlanProtocol = isLittleEndian ? 0x0081 : 0x8100;

const pushing = (id: number): Uint8Array =>
  assemble([set(2, vlanProtocol), set(3, id), call(pushVlan), set(0, pass), exit]);

const popping = (id: number): Uint8Array =>
  assemble([
    load32(7, 1, tagOffset),
    mask(7, 0xfff),
    add(7, -id),
    jumpUnlessZero(7, 'drop'),
    copy(6, 1),
    call(popVlan),
    set(0, pass),
    exit,
    { here: 'drop' },
    set(0, drop),
    exit,
  ]);

/** For the namespace of the workload. */
export function taggingRequests(interfaceName: string, id: number): readonly NetlinkRequest[] {
  const index = { register: 'link' };
  const name = 'of a workload';
  return [
    {
      what: `find ${interfaceName}`,
      message: getLinkByName(interfaceName),
      store: { register: 'link', offset: 4 },
    },
    { what: 'add a hook', message: addClsact(index) },
    { what: 'take tags off', message: setIngressProgram(index, { program: popping(id), name }) },
    { what: 'tag', message: atEgress(setIngressProgram(index, { program: pushing(id), name })) },
  ];
}

/** The parent in tcmsg, 28 bytes into the message: TC_H_MIN_EGRESS instead of TC_H_MIN_INGRESS. */
function atEgress({ bytes, holes }: EncodedMessage): EncodedMessage {
  const changed = bytes.slice();
  new DataView(changed.buffer).setUint32(28, 0xffff_fff3, isLittleEndian);
  return { bytes: changed, holes };
}
