// How a client leaves: the Close of what its manager holds of it. Invariants: a manager that is away is told again for
// as long as a Request may take, since nobody else would close the wire before it expires; what an answer that was lost
// has made is asked for first, since only that answer could have named it; nobody waits for a manager that cannot hold
// anything.

import { asNsmError, type NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Attempt, Outcome } from './attempt.ts';
import { backoffMs, type ClientSetup, type Context } from './client-setup.ts';
import type { Live } from './client-state.ts';
import { isAway, recoverConnection } from './recover.ts';

/** Resolves once the manager has heard. Rejects with its refusal, or with why it could not be told in time. */
export async function depart(setup: ClientSetup, context: Context, state: Live): Promise<void> {
  const { clock, signal } = context;
  const deadlineMs = clock.nowMs() + setup.requestTimeoutMs;
  const known = await knownAtEnd(state);
  let { held } = known;
  for (let attempts = 1; ; attempts += 1) {
    try {
      held ??= await recoverConnection(setup, context, signal);
      if (held !== undefined) {
        await setup.nextHop.close(setup.connectTo, held, { deadlineMs, signal, headers: {} });
      }
      return;
    } catch (thrown) {
      if (!known.mayBeHeld) return;
      const delayMs = backoffMs(setup, context, attempts);
      const isInTime = clock.nowMs() + delayMs < deadlineMs && !signal.aborted;
      if (!isAway(asNsmError(thrown)) || !isInTime) throw thrown;
      await pause(clock, delayMs, signal);
    }
  }
}

/** Whether the manager may have made what was asked for though there was no answer. Who refuses has undone it. */
export function mayHaveMade(attempt: Attempt, error: NsmError): boolean {
  return attempt.reselects !== undefined && error.details.hop === undefined;
}

interface Known {
  readonly held: Connection | undefined;
  readonly mayBeHeld: boolean;
}

/** What is to be closed, after giving up the try under way: its answer may have crossed. */
async function knownAtEnd(state: Live): Promise<Known> {
  const { attempt } = state;
  attempt?.giveUp();
  const outcome = await attempt?.outcome;
  const held = heldAfter(state, outcome);
  if (held !== undefined || state.phase !== 'requesting') return { held, mayBeHeld: true };
  const wasLost =
    attempt !== undefined &&
    outcome !== undefined &&
    'error' in outcome &&
    mayHaveMade(attempt, outcome.error);
  return { held, mayBeHeld: state.mayBeHeld || wasLost };
}

function heldAfter(state: Live, outcome: Outcome | undefined): Connection | undefined {
  if (outcome !== undefined && 'answer' in outcome) return outcome.answer;
  return state.phase === 'requesting' ? (state.recovered ?? outcome?.known) : state.connection;
}

function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(delayMs, resolve);
    signal.addEventListener('abort', () => {
      timer.cancel();
      resolve();
    });
  });
}
