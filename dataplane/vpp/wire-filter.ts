// Access rules on wires: what a client may send through, and what may come back. NSM concept: the ACL of
// cmd-nse-firewall-vpp, here at the client's end of every wire.
// Invariants: no wire is joined without its rules; each direction has one list, known by its tag, which all wires share;
// neighbours of IPv6 find each other whatever the rules say, as those of IPv4 do.

import { NsmError } from '../../protocols/errors.ts';
import type { AccessRule } from '../../protocols/nsm/access-rules-document.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import { aclAction, allOnes } from '../../protocols/vpp/messages/enums.ts';
import { vppPrefix } from '../../protocols/vpp/vpp-address.ts';
import type { Inventory } from './inventory.ts';
import { type AclRule, neighborRules } from './pinholes.ts';
import { ownTag, type Owner } from './tags.ts';

export interface WireFilter {
  /** Of the client's end. Errors: FAILED_PRECONDITION where VPP has no access lists. */
  attach(index: number, budget: Budget): Promise<void>;
  /** Those of the interfaces whose rules somebody took away. */
  without(indexes: readonly number[], budget: Budget): Promise<readonly number[]>;
}

export const noFilter: WireFilter = { attach: async () => {}, without: async () => [] };

const actions: Record<AccessRule['action'], number> = {
  deny: aclAction.deny,
  permit: aclAction.permit,
  reflect: aclAction.permitReflect,
};

/** Numbers of the two lists. */
interface Lists {
  readonly out: number;
  readonly back: number;
}

export interface WireFilterSetup {
  readonly vpp: Vpp;
  readonly owner: Owner;
  readonly inventory: Inventory;
  readonly rules: readonly AccessRule[];
}

export function createWireFilter(setup: WireFilterSetup): WireFilter {
  return new AclFilter(setup);
}

class AclFilter implements WireFilter {
  readonly #setup: WireFilterSetup;
  /** By life of VPP. */
  #lists: { readonly life: number; readonly made: Promise<Lists> } | undefined;

  constructor(setup: WireFilterSetup) {
    this.#setup = setup;
  }

  async attach(index: number, budget: Budget): Promise<void> {
    const { out, back } = await this.#ready(budget);
    const attached = { sw_if_index: index, n_input: 1, acls: [out, back] };
    await this.#setup.vpp.request('acl_interface_set_acl_list', attached, budget);
  }

  async without(indexes: readonly number[], budget: Budget): Promise<readonly number[]> {
    const { out, back } = await this.#ready(budget);
    const found = await Promise.all(
      indexes.map(async (index) => {
        const lists = await this.#setup.vpp.dump(
          'acl_interface_list_dump',
          { sw_if_index: index },
          budget,
        );
        const own = lists.find((each) => each.sw_if_index === index);
        const isWhole = own?.n_input === 1 && own.acls[0] === out && own.acls[1] === back;
        return isWhole ? [] : [index];
      }),
    );
    return found.flat();
  }

  #ready(budget: Budget): Promise<Lists> {
    const { life } = this.#setup.inventory;
    if (this.#lists?.life !== life) {
      const making = { life, made: this.#make(budget) };
      this.#lists = making;
      making.made.catch(() => {
        if (this.#lists === making) this.#lists = undefined;
      });
    }
    return this.#lists.made;
  }

  /** Lists of an earlier life get the rules of this one, and all wires with them. */
  async #make(budget: Budget): Promise<Lists> {
    const { vpp, rules } = this.#setup;
    try {
      const there = await vpp.dump('acl_dump', { acl_index: allOnes }, budget);
      const write = async (direction: keyof Lists, r: readonly AclRule[]): Promise<number> => {
        const tag = ownTag(this.#setup.owner, `rules ${direction}`);
        const acl_index = there.find((each) => each.tag === tag)?.acl_index ?? allOnes;
        const list = { acl_index, tag, r: [...neighborRules, ...r] };
        return (await vpp.request('acl_add_replace', list, budget)).acl_index;
      };
      const out = rules.map(aclRule);
      return { out: await write('out', out), back: await write('back', out.map(turned)) };
    } catch (error) {
      if (!(error instanceof NsmError) || error.code !== 'UNIMPLEMENTED') throw error;
      throw noAccessLists(error);
    }
  }
}

function aclRule(rule: AccessRule): AclRule {
  return {
    is_permit: actions[rule.action],
    src_prefix: vppPrefix(rule.source),
    dst_prefix: vppPrefix(rule.destination),
    proto: rule.ipProtocol,
    srcport_or_icmptype_first: rule.sourcePorts.first,
    srcport_or_icmptype_last: rule.sourcePorts.last,
    dstport_or_icmpcode_first: rule.destinationPorts.first,
    dstport_or_icmpcode_last: rule.destinationPorts.last,
    tcp_flags_mask: rule.tcpFlags.mask,
    tcp_flags_value: rule.tcpFlags.value,
  };
}

const icmpProtocols: readonly number[] = [1, 58];

/** The same packets on their way back; type and code of ICMP have no direction. */
function turned(rule: AclRule): AclRule {
  const prefixes = { src_prefix: rule.dst_prefix, dst_prefix: rule.src_prefix };
  if (icmpProtocols.includes(rule.proto ?? 0)) return { ...rule, ...prefixes };
  return {
    ...rule,
    ...prefixes,
    srcport_or_icmptype_first: rule.dstport_or_icmpcode_first ?? 0,
    srcport_or_icmptype_last: rule.dstport_or_icmpcode_last ?? 0,
    dstport_or_icmpcode_first: rule.srcport_or_icmptype_first ?? 0,
    dstport_or_icmpcode_last: rule.srcport_or_icmptype_last ?? 0,
  };
}

function noAccessLists(cause: NsmError): NsmError {
  return new NsmError('FAILED_PRECONDITION', 'this VPP cannot keep the access rules of wires', {
    rule: 'NSM_ACL_CONFIG_PATH',
    expected: 'a VPP with the plugin acl',
    found: cause.message,
    remedy: 'load the plugin acl, or run the forwarder without access rules',
    cause,
  });
}
