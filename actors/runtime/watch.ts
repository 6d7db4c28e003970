// Death watch: an actor hears once of the end of another's incarnation, wherever that one lives.
// Invariants: one watch per watched incarnation; after `unwatch` nothing is delivered, not even what was queued.

import type { ActorRef, Terminated } from './api.ts';
import type { Cell } from './cell.ts';
import { TerminatedNotice, type Watch } from './notice.ts';
import { LocalRef } from './refs.ts';

export function watch(
  cell: Cell,
  ref: ActorRef<never>,
  onTerminated: (event: Terminated) => unknown,
): void {
  if (!cell.isAlive) return;
  const watching = (cell.more.watching ??= new Map());
  const key = keyOf(ref);
  const known = watching.get(key);
  if (known !== undefined) {
    known.onTerminated = onTerminated;
    return;
  }
  const forget = (): void => {
    made.isActive = false;
    if (watching.get(key) === made) watching.delete(key);
  };
  const made: Watch = { isActive: true, onTerminated, cancel: forget, forget };
  watching.set(key, made);
  const { address } = ref;
  const cancel = cell.runtime.watch(ref, (reason) => {
    if (made.isActive) cell.acceptNotice(new TerminatedNotice(made, { address, reason }));
  });
  made.cancel = () => {
    forget();
    cancel();
  };
}

export function unwatch(cell: Cell, ref: ActorRef<never>): void {
  const key = keyOf(ref);
  cell.extras?.watching?.get(key)?.cancel();
}

/** What identifies an incarnation: its cell here, its full address elsewhere. */
function keyOf(ref: ActorRef<never>): unknown {
  if (ref instanceof LocalRef) return ref.cell;
  const { node, path, incarnation } = ref.address;
  return JSON.stringify([node, path, incarnation]);
}
