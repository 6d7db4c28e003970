// A wire of which the memory is in doubt, or there is none, looked at by its tags: what is missing of it.

import { describeObserved } from './describe-observed.ts';
import type { Inspected, Inspecting } from './inspect-wire.ts';
import { type Inventory, vxlanEndOf } from './observe.ts';
import { run } from './run.ts';
import { type CurrentWire, sides } from './wire-state.ts';

export interface Doubted {
  readonly id: string;
  readonly inventory: Inventory;
  /** Before it was doubted. */
  readonly last: CurrentWire | undefined;
}

export async function inspectDoubted(
  context: Inspecting,
  { id, inventory, last }: Doubted,
): Promise<Inspected> {
  const { netlink, filter, budget } = context;
  const links = inventory.byWire.get(id) ?? [];
  const unfiltered = new Set<number>();
  for (const { link, tag } of links) {
    if (link.vxlan === undefined || filter === undefined) continue;
    const [answers = []] = await run(netlink, [filter.reading(vxlanEndOf(link, tag))], budget);
    if (!filter.isCovered(answers)) unfiltered.add(link.index);
  }
  const [observed] = await describeObserved({ ...context, unfiltered }, inventory, [id]);
  const isThere = (index: number | undefined): boolean =>
    links.some(({ link }) => link.index === index);
  const gone = sides.filter((side) => !isThere(last?.[side]?.index));
  return { missing: observed?.missing ?? [], gone, links: observed?.links ?? {} };
}
