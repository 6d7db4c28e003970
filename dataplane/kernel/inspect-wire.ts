// A remembered wire compared with the kernel, link by link: what is missing of it, or is not as it was made.

import { errno } from '../../protocols/netlink/errno.ts';
import { getLink, type Link, parseLink } from '../../protocols/netlink/link.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { FilterUse } from './filter-use.ts';
import { type JointState, readJoints } from './joints.ts';
import { missingOf, type SeenEnd } from './missing.ts';
import type { OwnerMarks } from './owner.ts';
import { formatTag } from './owner.ts';
import { run } from './run.ts';
import type { CurrentWire, EndState, Side } from './wire-state.ts';
import { sides } from './wire-state.ts';

export interface Inspecting {
  readonly netlink: Netlink;
  readonly marks: OwnerMarks;
  /** Absent where this kernel cannot filter. */
  readonly filter?: FilterUse;
  readonly budget: Budget;
}

export interface Inspected {
  readonly missing: readonly string[];
  /** Ends whose link is gone. */
  readonly gone: readonly Side[];
}

export async function inspectWire(context: Inspecting, wire: CurrentWire): Promise<Inspected> {
  const { bridge } = wire;
  const ends = sides.flatMap((side) => wire[side] ?? []);
  const indexes = [...ends.map(({ index }) => index), ...(bridge ? [bridge.index] : [])];
  const links = await readLinks(context, indexes);
  const present = ends.filter(({ index }) => links.has(index));
  const joints = await readJoints(
    context.netlink,
    present.map(({ index, end }) => (end?.kind === 'vxlan' ? { index, tunnel: end } : { index })),
    context.budget,
  );
  const seen: { client?: SeenEnd; endpoint?: SeenEnd; bridge?: Link | 'gone' } = {};
  for (const state of ends) {
    seen[state.side] = await seenEnd(context, state, links.get(state.index), joints);
  }
  if (bridge !== undefined) seen.bridge = links.get(bridge.index) ?? 'gone';
  const missing = missingOf({ ...seen, leftOver: [] });
  return { missing, gone: sides.filter((side) => seen[side]?.link === undefined) };
}

async function readLinks(
  { netlink, budget }: Inspecting,
  indexes: readonly number[],
): Promise<ReadonlyMap<number, Link>> {
  const requests = indexes.map((index) => ({
    message: getLink(index),
    what: `read link ${index}`,
    tolerate: [errno.noDevice],
  }));
  const answers = (await run(netlink, [{ protocol: 'route', requests }], budget))[0] ?? [];
  return new Map(
    answers.flatMap(({ messages: [message] }) => {
      const link = message === undefined ? undefined : parseLink(message);
      return link === undefined ? [] : [[link.index, link] as const];
    }),
  );
}

async function seenEnd(
  { marks, filter, budget }: Inspecting,
  { name, tag, end, index }: EndState,
  link: Link | undefined,
  joints: ReadonlyMap<number, JointState>,
): Promise<SeenEnd> {
  const needsFilter = link !== undefined && end?.kind === 'vxlan' && filter !== undefined;
  return {
    name,
    ...(link === undefined ? {} : { link }),
    hasTag: link?.alias === formatTag(marks.owner, tag),
    hasName: link?.name === name,
    isDone: tag.isDone,
    joint: joints.get(index) ?? {},
    isFiltered: !needsFilter || (await filter.covers(end, budget)),
  };
}
