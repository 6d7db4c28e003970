// Turning a wire's client from one end to another, once both are there: first the way back, then the client's own, which
// changes over at one message. Frames are switched; where an end carries packets alone both ways are routed.
// Invariant: what was before is put back by `undos`, whichever of the two it was.

import { carriesPackets } from '../../protocols/netlink/check-wire.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import { allOnes } from '../../protocols/vpp/messages/enums.ts';
import type { FoundEnd, Inventory } from './inventory.ts';
import { type Operations, undoBudget } from './operations.ts';
import type { Routing } from './routing.ts';
import type { Trunk, Trunks } from './trunks.ts';
import type { WirePart } from './wire-parts.ts';
import { awaitSession } from './tunnel-session.ts';

export interface MadeEnd {
  readonly part: WirePart;
  readonly end: FoundEnd;
  /** Nothing comes in there yet. */
  readonly isNew: boolean;
  /** Of a branch. */
  readonly trunk?: Trunk | undefined;
}

export interface SwitchOver {
  readonly inventory: Inventory;
  readonly operations: Operations;
  readonly routing: Routing;
  readonly trunks: Trunks;
  readonly vpp: Vpp;
  readonly clock: Clock;
  readonly budget: Budget;
  readonly undos: (() => Promise<unknown>)[];
}

export async function switchOver(
  over: SwitchOver,
  { client, endpoint }: { readonly client: MadeEnd; readonly endpoint: MadeEnd },
): Promise<void> {
  const ends = [endpoint, client];
  for (const { end } of ends.toReversed()) restoreWhereItLed(over, end.index);
  const [back, forth] = [
    [endpoint.end.index, client.end.index],
    [client.end.index, endpoint.end.index],
  ] as const;
  if (ends.some(({ part }) => carriesPackets(part))) {
    await route(over, ends, [back, forth]);
    return;
  }
  await turn(over, [
    { from: endpoint, to: client },
    { from: client, to: endpoint },
  ]);
}

/** First the ways out of new ends, and their links, then those of ends that carry frames now. */
async function turn(
  over: SwitchOver,
  ways: readonly { readonly from: MadeEnd; readonly to: MadeEnd }[],
): Promise<void> {
  const { operations, budget } = over;
  const turnOver = (isNew: boolean) =>
    Promise.all(
      ways
        .filter(({ from }) => from.isNew === isNew)
        .map(({ from, to }) => operations.joinTo(from.end.index, to.end.index, budget)),
    );
  await turnOver(true);
  await attachLinks(
    over,
    ways.map(({ from }) => from),
  );
  await turnOver(false);
}

async function attachLinks({ trunks, budget, undos }: SwitchOver, ends: readonly MadeEnd[]) {
  const attaching = ends.flatMap(({ part, trunk }) =>
    part.kind === 'host' && trunk ? [trunks.attach(part.link, trunk, budget)] : [],
  );
  for (const outcome of await Promise.allSettled(attaching)) {
    if (outcome.status === 'rejected') throw outcome.reason;
    undos.push(() => outcome.value(undoBudget));
  }
}

/** The new end may be gone by then, with its own cross connects. */
function restoreWhereItLed({ inventory, operations, routing, undos }: SwitchOver, index: number) {
  const switchedTo = inventory.switchedTo(index);
  const before = inventory.routedTo(index);
  // What led to no interface is not worth bringing back.
  const routedTo = before === allOnes ? undefined : before;
  undos.push(async () => {
    if (inventory.routedTo(index) !== routedTo) await routing.lead(index, routedTo, undoBudget);
    if (inventory.switchedTo(index) !== switchedTo) {
      await operations.joinTo(index, switchedTo, undoBudget);
    }
  });
}

/** An interface is routed as soon as it is switched nowhere, so everything is ready before. */
async function route(
  over: SwitchOver,
  ends: readonly MadeEnd[],
  ways: readonly (readonly [from: number, to: number])[],
): Promise<void> {
  const { inventory, operations, routing, budget } = over;
  const missing = ways.filter(([from, to]) => inventory.routedTo(from) !== to);
  for (const { part, end } of ends) {
    if (missing.length > 0) await routing.admit(end.index, budget);
    if (part.kind === 'wireguard') await routing.hold(end.index, budget);
    if (part.kind === 'host') await routing.admitWorkload(end.index, part.workloadMac, budget);
  }
  await session(over, ends, missing);
  for (const [from, to] of missing) await routing.lead(from, to, budget);
  const switched = ways.filter(([from]) => inventory.switchedTo(from) !== undefined);
  for (const [from] of switched) await operations.joinTo(from, undefined, budget);
}

/**
 * Of a new tunnel that another way is left for: until then that one carries. Who begins the agreement of an IPsec tunnel
 * waits for it in any case, since the other node is ready by then.
 */
async function session(
  over: SwitchOver,
  ends: readonly MadeEnd[],
  missing: readonly (readonly [from: number, to: number])[],
): Promise<void> {
  const { inventory, budget } = over;
  const isLeft = missing.some(([from]) => inventory.jointOf(from) !== undefined);
  for (const { part, end } of ends) {
    const begins = part.kind === 'ipsec' && part.end.initiates && !end.isUp;
    if (begins || (isLeft && part.kind === 'wireguard')) await awaitSession(over, end, budget);
  }
}
