// Which wires have policy routes in their workload's namespace, and where, so that those without cost nothing and
// those that lose them leave none behind. Invariants: two wires never choose tables in one namespace at the same
// time (`locksOf`); a wire that was taken up from an earlier life is looked at once.

import { asNsmError } from '../../protocols/errors.ts';
import type { Budget, KernelEnd, Wire } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { ProgramBuilder } from './program-builder.ts';
import type { NetlinkNumber } from '../../protocols/netlink/codec.ts';
import {
  configurePolicies,
  hasPolicies,
  lookAtRouting,
  policiesIn,
  removalOf,
} from './policy-routes.ts';
import { run } from './run.ts';
import { createSharedLooks } from './shared-looks.ts';

/** What the plan of a wire does about its policies. */
export interface PolicyPlan {
  /** The builder is in the namespace of the end. */
  configure(program: ProgramBuilder, end: KernelEnd, index: NetlinkNumber): void;
}

export interface PolicyUse {
  /** Beside the wire's own id. */
  locksOf(wire: Wire): readonly string[];
  /** Undefined where the wire neither wants policies nor may have any. */
  plan(wire: Wire, isTakenUp: boolean, budget: Budget): Promise<PolicyPlan | undefined>;
  /** After the plan has been carried out. */
  settle(wire: Wire, budget: Budget): Promise<void>;
  /** Takes away what these wires have; `namespaces` names those of wires that this life does not know. */
  clear(
    ids: readonly string[],
    namespaces: ReadonlyMap<string, string> | undefined,
    budget: Budget,
  ): Promise<void>;
}

export function createPolicyUse(netlink: Netlink): PolicyUse {
  /** Namespaces by wire id. */
  const places = new Map<string, string>();
  const shared = createSharedLooks((namespace, budget) =>
    lookAtRouting(netlink, namespace, budget),
  );

  const clearIn = async (wireId: string, namespace: string, budget: Budget): Promise<void> => {
    try {
      const found = policiesIn(await lookAtRouting(netlink, namespace, budget), wireId);
      if (!hasPolicies(found)) return;
      await run(netlink, removalOf({ namespace, interfaceName: wireId }, found), budget);
    } catch (error) {
      // With the namespace went everything in it.
      if (asNsmError(error).code !== 'NOT_FOUND') throw error;
    }
  };

  return {
    locksOf: ({ id, client }) =>
      client.kind === 'kernel' && (wants(client) || places.has(id))
        ? [`policies in ${client.netns}`]
        : [],
    async plan({ id, client }, isTakenUp, budget) {
      if (client.kind !== 'kernel') return undefined;
      if (!wants(client) && !places.has(id) && !isTakenUp) return undefined;
      // Nobody else changes what this wire has; which tables are free it must know when it has the namespace to itself.
      const look = wants(client)
        ? (place: string) => lookAtRouting(netlink, place, budget)
        : shared;
      const found = policiesIn(await look(client.netns, budget), id);
      if (!wants(client) && !hasPolicies(found)) return undefined;
      return {
        configure: (program, end, index) =>
          configurePolicies(
            program,
            { wireId: id, interfaceName: end.interfaceName, index },
            end.policies ?? [],
            found,
          ),
      };
    },
    async settle({ id, client }, budget) {
      const before = places.get(id);
      const now = client.kind === 'kernel' && wants(client) ? client.netns : undefined;
      if (before !== undefined && client.kind === 'kernel' && before !== client.netns) {
        await clearIn(id, before, budget);
      }
      if (now === undefined) places.delete(id);
      else places.set(id, now);
    },
    async clear(ids, namespaces, budget) {
      for (const id of ids) {
        const namespace = places.get(id) ?? namespaces?.get(id);
        if (namespace === undefined) continue;
        await clearIn(id, namespace, budget);
        places.delete(id);
      }
    },
  };
}

const wants = ({ policies }: KernelEnd): boolean => policies !== undefined && policies.length > 0;
