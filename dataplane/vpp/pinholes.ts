// What VPP takes in at the node's outer address: an access list that lets through the UDP ports of tunnels, and what
// IPv6 needs to find its neighbours. NSM concept: the pinholes of forwarder-vpp.
// Invariants: one list per outer interface, known by its tag; ports are added and never taken back, since another life of
// this forwarder may have made them.

import { asNsmError } from '../../protocols/errors.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import { aclAction, allOnes } from '../../protocols/vpp/messages/enums.ts';
import type { DetailsFields } from '../../protocols/vpp/messages/known-messages.ts';
import { vppPrefix } from '../../protocols/vpp/vpp-address.ts';
import { ownTag, type Owner } from './tags.ts';
import type { OuterPorts } from './uplink.ts';

export interface Pinholes {
  /** Nothing but what was open before. */
  close(index: number, budget: Budget): Promise<void>;
  open(index: number, outer: OuterPorts, budget: Budget): Promise<void>;
}

export type AclRule = DetailsFields<'acl_dump'>['r'][number];

const udp = 17;
const icmpv6 = 58;
/** Neighbour solicitation and advertisement (RFC 4861). */
const neighborTypes = { first: 135, last: 136 } as const;
const anywhere = { ip4: vppPrefix('0.0.0.0/0'), ip6: vppPrefix('::/0') } as const;

/** Without VPP's plugin for access lists everything comes in. */
export function createPinholes(setup: { readonly vpp: Vpp; readonly owner: Owner }): Pinholes {
  const { vpp, owner } = setup;
  const tagOf = (index: number): string => ownTag(owner, `uplink ${index}`);

  const find = async (index: number, budget: Budget) => {
    const lists = await vpp.dump('acl_dump', { acl_index: allOnes }, budget);
    return lists.find(({ tag }) => tag === tagOf(index));
  };

  const write = async (
    index: number,
    list: { readonly acl_index: number; readonly r: readonly AclRule[] },
    budget: Budget,
  ): Promise<void> => {
    const { acl_index: acl } = await vpp.request(
      'acl_add_replace',
      { ...list, tag: tagOf(index) },
      budget,
    );
    const attached = { sw_if_index: index, n_input: 1, acls: [acl] };
    await vpp.request('acl_interface_set_acl_list', attached, budget);
  };

  return {
    close: (index, budget) =>
      withoutPlugin(async () => {
        const found = await find(index, budget);
        const list = found ?? { acl_index: allOnes, r: neighborRules };
        await write(index, list, budget);
      }),
    open: (index, outer, budget) =>
      withoutPlugin(async () => {
        const found = await find(index, budget);
        const rules = found?.r ?? neighborRules;
        if (found !== undefined && rules.some((each) => isFor(each, outer))) return;
        const list = { acl_index: found?.acl_index ?? allOnes, r: [...rules, tunnelRule(outer)] };
        await write(index, list, budget);
      }),
  };
}

const rule = (fields: Partial<AclRule> & Pick<AclRule, 'src_prefix' | 'dst_prefix'>): AclRule => ({
  is_permit: aclAction.permit,
  proto: 0,
  srcport_or_icmptype_first: 0,
  srcport_or_icmptype_last: 65_535,
  dstport_or_icmpcode_first: 0,
  dstport_or_icmpcode_last: 65_535,
  tcp_flags_mask: 0,
  tcp_flags_value: 0,
  ...fields,
});

/** What no rule lets through is dropped. */
export const neighborRules: readonly AclRule[] = [
  rule({
    src_prefix: anywhere.ip6,
    dst_prefix: anywhere.ip6,
    proto: icmpv6,
    srcport_or_icmptype_first: neighborTypes.first,
    srcport_or_icmptype_last: neighborTypes.last,
  }),
];

function tunnelRule({ localIp, ports }: OuterPorts): AclRule {
  return rule({
    src_prefix: localIp.includes(':') ? anywhere.ip6 : anywhere.ip4,
    dst_prefix: vppPrefix(localIp),
    proto: udp,
    dstport_or_icmpcode_first: ports.first,
    dstport_or_icmpcode_last: ports.last,
  });
}

function isFor(found: AclRule, { localIp, ports }: OuterPorts): boolean {
  const { address, len } = vppPrefix(localIp);
  const { dst_prefix: to } = found;
  return (
    found.proto === udp &&
    found.dstport_or_icmpcode_first === ports.first &&
    found.dstport_or_icmpcode_last === ports.last &&
    to.len === len &&
    to.address.af === address.af &&
    to.address.un.every((byte, at) => byte === address.un[at])
  );
}

async function withoutPlugin(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (asNsmError(error).code !== 'UNIMPLEMENTED') throw error;
  }
}
