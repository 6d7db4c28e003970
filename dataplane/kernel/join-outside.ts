// The part of a change of a wire that something other than the kernel does: it joins the links in the middle of the
// kernel's own work, and what the kernel did before is undone where that, or the kernel's rest, fails.

import type { NetlinkFailure, NetlinkAnswer, NetlinkStep } from '../../protocols/ports/netlink.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { Joined, Joining, NodeLinks } from '../../protocols/ports/wire-ends.ts';
import type { DriverReach } from '../../protocols/netlink/check-wire.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import type { WirePlan } from './wire-plan.ts';
import { sides } from './wire-state.ts';

export interface OutsideJoint {
  readonly netlink: Netlink;
  readonly joining: Joining;
  readonly plan: WirePlan;
  /** Of the plan's program, which has succeeded. */
  readonly answers: readonly (readonly NetlinkAnswer[])[];
  readonly budget: Budget;
}

/** What joins the ends has checked what it makes itself. */
export const outsideReach: DriverReach = {
  vlans: true,
  taggedFrames: true,
  memif: true,
  wireguard: true,
  ipsec: true,
};

/** Time for taking back what was done, whatever became of the caller's own. */
const undoTimeoutMs = 10_000;

export async function joinOutside(joint: OutsideJoint): Promise<Joined | NetlinkFailure> {
  const { netlink, joining, plan, answers, budget } = joint;
  const indexes = plan.program.indexesIn(answers);
  const links = linksOfStates(plan.outcome(indexes));
  const undo = undoOf(plan.program.steps, answers);
  const takeBack = () => netlink.execute(undo, { timeoutMs: undoTimeoutMs });
  let joined: Joined | undefined;
  try {
    joined = await joining.join(links);
    const rest = await netlink.execute(plan.completion(indexes).steps, budget);
    if (rest.ok) return joined;
    await joined.undo();
    await takeBack();
    return rest.failure;
  } catch (error) {
    await joined?.undo();
    await takeBack();
    throw error;
  }
}

function linksOfStates(states: ReturnType<WirePlan['outcome']>): NodeLinks {
  return Object.fromEntries(
    sides.flatMap((side) => {
      const state = states[side];
      if (state === undefined) return [];
      const { name, index, mtu } = state;
      return [[side, { name, index, mtu }]];
    }),
  );
}

/** What there is to undo may have gone by itself, or with what was undone before. */
const gone = [
  errno.noDevice,
  errno.noEntry,
  errno.addressNotAvailable,
  errno.noSuchRoute,
  errno.invalid,
  errno.exists,
];

/**
 * The undoing of a program that has succeeded, newest first. What concerns a link that it made is left out: nobody
 * else knows its number, and it goes with the link.
 */
export function undoOf(
  steps: readonly NetlinkStep[],
  answers: readonly (readonly NetlinkAnswer[])[],
): NetlinkStep[] {
  return steps
    .flatMap((step, index) =>
      step.requests.flatMap(({ undo = [], what }, position) => {
        if (answers[index]?.[position]?.errno !== 0) return [];
        const requests = undo
          .filter(({ holes }) => !holes.some(({ reference }) => 'register' in reference))
          .map((message) => ({ message, what: `undo: ${what}`, tolerate: gone }));
        return requests.length === 0 ? [] : [{ ...step, requests }];
      }),
    )
    .toReversed();
}
