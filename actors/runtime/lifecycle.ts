// How an actor starts, crashes, starts again and ends. Owns supervision and the leaves-first stop, both of which
// nact gets wrong. Invariants: an actor ends after its handler in flight (or that handler's deadline), then all its
// children, then its `onStop`; its name is free only then; nothing here ever throws into the caller's loop.

import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import type { ActorContext, Terminated } from './api.ts';
import type { Cell } from './cell.ts';
import { stopNode, stopNursery } from './nact-tree.ts';
import { EscalationNotice, noMessage } from './notice.ts';
import { decideAfterCrash, defaultSupervision } from './supervision.ts';
import { within } from './within.ts';

/** Runs `initial` and lets messages in; a throw is a crash. */
export function startLife(cell: Cell): void {
  try {
    cell.state = cell.behavior.initial(cell.context as ActorContext<unknown>);
  } catch (error) {
    onCrash(cell, error);
    return;
  }
  if (!cell.isAlive) return;
  cell.goLive();
  if (cell.behavior.passivateAfterMs !== undefined) armPassivation(cell);
}

/** Decides and carries out what follows a crash of a handler, of `initial`, or of a child that escalated. */
export function onCrash(cell: Cell, error: unknown): void {
  const { log } = cell.runtime;
  const actor = cell.ref.toString();
  if (!cell.isAlive) {
    log.debug('a handler failed while its actor was stopping', {
      actor,
      error: describeError(error),
    });
    return;
  }
  const supervision = cell.behavior.supervision ?? defaultSupervision;
  const decision = decideAfterCrash(supervision, countCrash(cell, supervision.windowMs));
  // Without a state there is nothing to resume with.
  const needsState = decision.action === 'resume' && cell.state === noMessage;
  const action = needsState ? 'restart' : decision.action;
  log.error('an actor crashed', { actor, action, error: describeError(error), cause: error });
  switch (action) {
    case 'resume':
      return;
    case 'restart':
      void restart(cell, decision.backoffMs);
      return;
    case 'stop':
      void terminate(cell, 'crashed');
      return;
    case 'escalate':
      void terminate(cell, 'crashed');
      if (cell.parent === undefined) cell.runtime.escalated(cell, error);
      else cell.parent.acceptNotice(new EscalationNotice(error));
  }
}

/** Made once: a reason of its own for each actor would cost a stack trace, and there are thousands a second. */
export const actorStopped = new NsmError('CANCELLED', 'the actor was stopped');

/** Ends an actor; the promise resolves when it and all below it are gone, and never rejects. */
export function terminate(cell: Cell, reason: Terminated['reason']): Promise<void> {
  const { more } = cell;
  if (more.stopped !== undefined) return more.stopped;
  cell.phase = 'stopping';
  more.endReason = reason;
  more.stopped = finish(cell);
  releaseOwned(cell);
  dropQueued(cell);
  for (const ask of more.asked ?? []) ask.cancel('the asking actor stopped');
  more.abort?.abort(actorStopped);
  return more.stopped;
}

export function stopChildren(cell: Cell): Promise<unknown> {
  const { children } = cell;
  if (children === undefined || children.size === 0) return Promise.resolve();
  return Promise.all(Array.from(children.values(), (child) => terminate(child, 'stopped')));
}

/** Notes that the actor was active just now, and sees to it that somebody looks again later. */
export function armPassivation(cell: Cell): void {
  const { more } = cell;
  more.lastMessageMs = cell.runtime.clock.nowMs();
  if (more.passivation === undefined) lookAgain(cell, cell.behavior.passivateAfterMs ?? 0);
}

function lookAgain(cell: Cell, delayMs: number): void {
  const { clock } = cell.runtime;
  cell.more.passivation = clock.after(delayMs, () => {
    const { more } = cell;
    const afterMs = cell.behavior.passivateAfterMs ?? 0;
    const isIdle = cell.phase === 'live' && !cell.isBusy && !cell.hasQueued;
    const leftMs = isIdle ? more.lastMessageMs + afterMs - clock.nowMs() : afterMs;
    if (leftMs > 0) lookAgain(cell, leftMs);
    else void terminate(cell, 'stopped');
  });
}

async function restart(cell: Cell, backoffMs: number): Promise<void> {
  cell.phase = 'restarting';
  cell.state = noMessage;
  const { more } = cell;
  releaseOwned(cell);
  more.urgent = undefined;
  cell.unstashAll();
  await stopChildren(cell);
  if (cell.phase !== 'restarting') return;
  if (backoffMs > 0) more.backoff = cell.runtime.clock.after(backoffMs, () => startLife(cell));
  else startLife(cell);
}

async function finish(cell: Cell): Promise<void> {
  // A handler that stops its own actor is still on the stack: let it return, or turn out to be asynchronous.
  await Promise.resolve();
  await handlerEnd(cell);
  await stopChildren(cell);
  await runOnStop(cell);
  end(cell);
}

async function handlerEnd(cell: Cell): Promise<void> {
  if (!cell.isAwaiting) return;
  const { clock, stopHandlerMs, log } = cell.runtime;
  const ended = new Promise<void>((resolve) => {
    cell.more.onHandlerEnd = resolve;
  });
  if (await within(clock, stopHandlerMs, ended)) return;
  log.error('a handler outlived the stop of its actor', {
    actor: cell.ref.toString(),
    waitedMs: stopHandlerMs,
  });
}

async function runOnStop(cell: Cell): Promise<void> {
  const { onStop } = cell.behavior;
  if (onStop === undefined || cell.state === noMessage) return;
  const { clock, stopHandlerMs, log } = cell.runtime;
  const actor = cell.ref.toString();
  try {
    const running = onStop(cell.state, cell.context as ActorContext<unknown>);
    if (!(running instanceof Promise)) return;
    if (await within(clock, stopHandlerMs, running)) return;
    log.error('onStop did not end in time', { actor, waitedMs: stopHandlerMs });
  } catch (error) {
    log.error('onStop failed', { actor, error: describeError(asNsmError(error)), cause: error });
  }
}

function end(cell: Cell): void {
  const { runtime, parent, more } = cell;
  releaseOwned(cell);
  cell.phase = 'stopped';
  if (more.nursery !== undefined) stopNursery(more.nursery);
  if (cell.node !== undefined) stopNode(cell.node);
  cell.node = undefined;
  cell.children = undefined;
  cell.state = noMessage;
  (parent === undefined ? runtime.roots : parent.children)?.delete(cell.name);
  runtime.actorCount -= 1;
  for (const ask of more.asks ?? []) ask.refused('stopped');
  const { watchers } = more;
  more.watchers = undefined;
  for (const onEnd of watchers ?? []) onEnd(more.endReason);
}

/** What this life of the actor holds outside itself. */
function releaseOwned(cell: Cell): void {
  const { extras } = cell;
  if (extras === undefined) return;
  for (const { timer } of extras.timers ?? []) timer.cancel();
  extras.timers = undefined;
  extras.passivation?.cancel();
  extras.passivation = undefined;
  extras.backoff?.cancel();
  extras.backoff = undefined;
  for (const watch of extras.watching?.values() ?? []) watch.cancel();
  extras.watching = undefined;
}

/** What is queued becomes dead letters, and who asked is told at once; what was handled may still be answered. */
function dropQueued(cell: Cell): void {
  cell.unstashAll();
  const { more } = cell;
  more.urgent = undefined;
  const dropped: unknown[] = [];
  while (!cell.isEmpty) dropped.push(cell.takeFirst());
  const asked = new Set(dropped);
  for (const ask of more.asks ?? []) if (asked.has(ask.message)) ask.refused('stopped');
  for (const message of dropped) cell.refuse(message, 'stopped');
}

/** Counts this crash and says how many fell into the window. */
function countCrash(cell: Cell, windowMs: number): number {
  const { more } = cell;
  const nowMs = cell.runtime.clock.nowMs();
  more.crashes += 1;
  more.crashTimesMs = more.crashTimesMs.filter((atMs) => nowMs - atMs < windowMs);
  more.crashTimesMs.push(nowMs);
  return more.crashTimesMs.length;
}
