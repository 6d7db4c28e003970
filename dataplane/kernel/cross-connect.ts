// Joining the node-side links of a wire: a redirect filter in each direction, or one bridge per wire where the
// kernel has no such filter.
// Invariants: a wire's frames reach its other end and nothing else, not even the node's own stack; going over to
// another endpoint end is one replaced filter.

import { parseMac } from '../../protocols/netlink/ip-address.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import {
  changeLink,
  changeLinkByName,
  createBridge,
  deleteLinkByName,
  getLinkByName,
} from '../../protocols/netlink/link.ts';
import { setFlooded } from '../../protocols/netlink/bridge-port.ts';
import {
  addClsact,
  type AddedHeader,
  deleteIngressFilters,
  setRedirect,
} from '../../protocols/netlink/traffic-control.ts';
import type { Wire } from '../../protocols/ports/dataplane.ts';
import { formatTag, linkName } from './owner.ts';
import type { ProgramBuilder } from './program-builder.ts';
import type { EndPlan, PlanContext } from './wire-plan.ts';
import type { BridgeState, CurrentWire, Side } from './wire-state.ts';

export interface Joint {
  readonly context: PlanContext;
  readonly wire: Wire;
  readonly client: EndPlan;
  readonly endpoint: EndPlan;
  readonly current: CurrentWire;
}

export interface CrossConnect {
  readonly kind: 'redirect' | 'bridge';
  /** Everything that may happen before the new ends are up. Returns what it has of its own. */
  prepare(program: ProgramBuilder, joint: Joint): Pick<BridgeState, 'name' | 'tag'> | undefined;
  /** The switch. */
  connect(program: ProgramBuilder, joint: Joint): void;
}

/** The end of a side that carried the traffic until now, if it is another one. */
function previous(joint: Joint, side: Side) {
  return joint.current.replaced.findLast((state) => state.side === side);
}

export const redirectCrossConnect: CrossConnect = {
  kind: 'redirect',

  prepare(program, { client, endpoint }) {
    program.enter();
    for (const { index, name } of [client, endpoint]) {
      // EINVAL: somebody has put a hook of another kind there, which takes the filter as well.
      const tolerate = [errno.exists, errno.invalid];
      program.add(`add a filter hook to ${name}`, addClsact(index), { tolerate });
    }
    // An end that is new on both sides is joined before it is up, so that the node's stack never sees a frame.
    if (client.kept === undefined) redirect(program, client, endpoint);
    if (endpoint.kept === undefined) redirect(program, endpoint, client);
    return undefined;
  },

  connect(program, joint) {
    const { client, endpoint, current } = joint;
    const isCleared = current.hasForeignFilters === true;
    for (const { index, name } of isCleared ? [client, endpoint] : []) {
      const tolerate = [errno.noEntry, errno.invalid];
      program.add(`clear the filters of ${name}`, deleteIngressFilters(index), { tolerate });
    }
    if (client.kept !== undefined || isCleared) {
      const old = endpoint.kept?.index ?? previous(joint, 'endpoint')?.index;
      redirect(program, client, endpoint, old);
    }
    if (endpoint.kept !== undefined || isCleared) {
      const old = client.kept?.index ?? previous(joint, 'client')?.index;
      redirect(program, endpoint, client, old);
    }
  },
};

function redirect(program: ProgramBuilder, from: EndPlan, to: EndPlan, old?: number): void {
  const { index, name } = from;
  const added = addedHeader(from, to);
  const isChange = old !== undefined && old !== to.index;
  program.add(`redirect ${name}`, setRedirect(index, to.index, added), {
    undo: isChange ? [setRedirect(index, old, added)] : undefined,
  });
}

/**
 * A tunnel's packets have no Ethernet header, and get that of a frame which the workload has sent to itself. The other
 * way the kernel leaves it off.
 */
function addedHeader({ end: from }: EndPlan, { end: to }: EndPlan): AddedHeader | undefined {
  if (from.kind !== 'wireguard' || to.kind !== 'kernel') return undefined;
  const own = parseMac(to.macAddress);
  return { destination: own, source: own };
}

export const bridgeCrossConnect: CrossConnect = {
  kind: 'bridge',

  prepare(program, { context, wire, current }) {
    const { owner, group } = context.marks;
    if (current.bridge !== undefined) {
      program.enter();
      const { index, name } = current.bridge;
      const tag = { ...current.bridge.tag, version: context.marks.tagVersion };
      const alias = formatTag(owner, tag);
      program.add(`set ${name} up`, changeLink({ index, isUp: true, group, alias }));
      return { name, tag };
    }
    const choice = { role: 'bridge', generation: 0, attempt: current.attempt } as const;
    const name = linkName(context.marks, wire.id, choice);
    program.enter();
    program.add(`create bridge ${name}`, createBridge({ name, group }), {
      undo: [deleteLinkByName(name)],
    });
    const version = context.marks.tagVersion;
    const tag = { version, wireId: wire.id, role: 'bridge', isDone: false } as const;
    const alias = formatTag(owner, tag);
    program.add(`tag ${name}`, changeLinkByName(name, { alias, isSilentIpv6: true }));
    program.query(`find ${name}`, getLinkByName(name), 'bridge');
    program.add(`set ${name} up`, changeLink({ index: { register: 'bridge' }, isUp: true }));
    return { name, tag };
  },

  connect(program, joint) {
    const master = joint.current.bridge?.index ?? { register: 'bridge' };
    for (const { index, name, kept } of [joint.client, joint.endpoint]) {
      program.add(`put ${name} on the bridge`, changeLink({ index, master }), {
        undo:
          kept === undefined || kept.taken !== undefined
            ? [changeLink({ index, master: kept?.taken?.master ?? 0 })]
            : undefined,
      });
      // One that was replaced when a process ended may be wanted again.
      if (kept !== undefined) program.add(`let ${name} hear`, setFlooded(index, true));
    }
    for (const { index, name } of joint.current.replaced) {
      // What it has sent still passes; it goes off the bridge when it is removed.
      program.add(`let ${name} hear no more`, setFlooded(index, false), {
        tolerate: [errno.noDevice, errno.notSupported],
        undo: [setFlooded(index, true)],
      });
    }
  },
};
