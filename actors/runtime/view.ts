// The tree as people and metrics see it.

import type { ActorView } from './api.ts';
import type { Cell } from './cell.ts';

export function viewOf(cell: Cell): ActorView {
  const { extras, children } = cell;
  return {
    address: cell.address,
    mailboxDepth: cell.depth + (extras?.urgent?.size ?? 0),
    stashDepth: extras?.stash?.size ?? 0,
    childCount: children?.size ?? 0,
    crashes: extras?.crashes ?? 0,
    busyMs: cell.busyUs / 1_000,
    children: Array.from(children?.values() ?? [], viewOf),
  };
}
