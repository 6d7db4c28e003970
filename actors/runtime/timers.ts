// Named timers of an actor. The generation of a timer is its entry in the map: a timer that was replaced or cancelled
// finds another entry or none, even when it was due and queued already.

import type { Cell } from './cell.ts';
import type { ArmedTimer } from './extras.ts';
import { noMessage, TimerNotice } from './notice.ts';

export function startTimer(cell: Cell, name: string, delayMs: number, message: unknown): void {
  if (!cell.isAlive) return;
  cancelTimer(cell, name);
  const timers = (cell.more.timers ??= new Map());
  const claim = (): unknown => {
    if (timers.get(name) !== armed || cell.extras?.timers !== timers) return noMessage;
    timers.delete(name);
    return message;
  };
  const timer = cell.runtime.clock.after(delayMs, () => cell.acceptNotice(new TimerNotice(claim)));
  const armed: ArmedTimer = { timer, message };
  timers.set(name, armed);
}

export function cancelTimer(cell: Cell, name: string): void {
  const timers = cell.extras?.timers;
  timers?.get(name)?.timer.cancel();
  timers?.delete(name);
}

export function cancelAllTimers(cell: Cell): void {
  for (const name of cell.extras?.timers?.keys() ?? []) cancelTimer(cell, name);
}
