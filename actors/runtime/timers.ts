// Named timers of an actor. An armed timer is its own notice, and its place in the actor's list is its generation: one
// that was replaced or cancelled is no longer there, even when it was due and queued already. Actors have few timers
// and live long, so a list is searched and no table is kept.

import type { Timer } from '../../protocols/ports/clock.ts';
import type { Cell } from './cell.ts';
import { Notice, noMessage } from './notice.ts';

export class ArmedTimer extends Notice {
  readonly name: string;
  readonly timer: Timer;
  private readonly cell: Cell;
  private readonly message: unknown;

  constructor(cell: Cell, name: string, delayMs: number, message: unknown) {
    super();
    this.name = name;
    this.cell = cell;
    this.message = message;
    this.timer = cell.runtime.clock.after(delayMs, () => cell.acceptNotice(this));
  }

  get isUrgent(): boolean {
    return true;
  }

  take(): unknown {
    return forget(this.cell, this) ? this.message : noMessage;
  }
}

export function startTimer(cell: Cell, name: string, delayMs: number, message: unknown): void {
  if (!cell.isAlive) return;
  cancelTimer(cell, name);
  (cell.more.timers ??= []).push(new ArmedTimer(cell, name, delayMs, message));
}

export function cancelTimer(cell: Cell, name: string): void {
  const armed = cell.extras?.timers?.find((each) => each.name === name);
  if (armed === undefined) return;
  armed.timer.cancel();
  forget(cell, armed);
}

export function cancelAllTimers(cell: Cell): void {
  const timers = cell.extras?.timers;
  if (cell.extras === undefined || timers === undefined) return;
  for (const { timer } of timers) timer.cancel();
  cell.extras.timers = undefined;
}

/** True where the timer was still armed. */
function forget(cell: Cell, armed: ArmedTimer): boolean {
  const timers = cell.extras?.timers ?? [];
  const at = timers.indexOf(armed);
  if (at >= 0) timers.splice(at, 1);
  return at >= 0;
}
