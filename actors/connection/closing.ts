// How a connection ends at one hop: closed there and behind it, then forgotten. Invariants: what this hop has made
// itself is taken away however long that takes, and until then it is remembered; only the next hop's share may be left
// to its own expiry; the memory goes after the journal, so that a refused deletion is tried again.

import { asNsmError, describeError, errorCodes, type NsmError } from '../../protocols/errors.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { ActorContext } from '../runtime/api.ts';
import type { ConnectionTable, Intent } from './connection-table.ts';
import type { Call, Hop, LocalPartRule } from './hop.ts';
import type { Keeper } from './keeping.ts';

const localPartRule: LocalPartRule = 'local-part';

export interface ClosingSetup {
  readonly id: string;
  readonly hop: Hop;
  readonly table: ConnectionTable;
  /** Time for an operation that nobody outside waits for: closing after expiry. */
  readonly ownCallTimeoutMs: number;
  /** As in `KeepingSetup`. */
  readonly keeper?: Keeper;
}

/**
 * How long after its expiry a next hop that may keep a wire alive is told of its end. Where this hop took its own part of
 * the data plane away, no packet keeps the rest alive.
 */
const toldMsMax = 3_600_000;

/** Over for everybody here, but not yet everywhere. */
export interface Closing {
  readonly phase: 'closing';
  readonly intent: Intent;
  readonly attempts: number;
}

/** `again`: to be tried again. `over`: nothing is left to do here; with a refusal where the next hop wants no Close. */
export type Outcome =
  | { readonly kind: 'again'; readonly error: NsmError }
  | { readonly kind: 'over'; readonly refusal?: NsmError };

/** Closes once, and forgets the connection where that was enough. Never throws. */
export async function tryToClose(
  setup: ClosingSetup,
  intent: Intent,
  call: Call,
  clock: Clock,
): Promise<Outcome> {
  let refusal: NsmError | undefined;
  try {
    await setup.hop.close(intent.connection, intent.memory, call);
  } catch (thrown) {
    const error = asNsmError(thrown);
    const { retryable } = errorCodes[error.code];
    const isOurs = error.details.rule === localPartRule;
    // A caller that does not wait for the Close has not taken it back, and the next hop may not have heard of it.
    const mayHelp = retryable || call.signal.aborted;
    // From then on the next hop has closed it by itself.
    const mayBeKept = setup.keeper !== undefined && setup.keeper.dataplane === undefined;
    const endsAtMs = intent.closeAtMs + (mayBeKept ? toldMsMax : 0);
    if (isOurs || (mayHelp && clock.nowMs() < endsAtMs)) return { kind: 'again', error };
    if (!mayHelp) refusal = error;
  }
  try {
    await setup.table.delete(setup.id);
  } catch (thrown) {
    return { kind: 'again', error: asNsmError(thrown) };
  }
  return { kind: 'over', ...(refusal === undefined ? {} : { refusal }) };
}

/** Pause before the next attempt, doubled up to the longest, with up to half of it taken off at random. */
const closeRetryMs = 200;
const closeRetryMsMax = 10_000;

/** Arms the next attempt, which comes as `due`. */
export function closeLater<Message>(
  context: ActorContext<Message>,
  state: Closing,
  error: NsmError,
  due: Message,
): Closing {
  const full = Math.min(closeRetryMsMax, closeRetryMs * 2 ** Math.min(16, state.attempts - 1));
  const delayMs = full * (1 - context.random.integer(1000) / 2000);
  context.timers.cancelAll();
  context.timers.start('close', delayMs, due);
  context.log.warn('a connection that is over is not yet closed everywhere', {
    connectionId: state.intent.connection.id,
    attempts: state.attempts,
    retryInMs: Math.round(delayMs),
    error: describeError(error),
  });
  return state;
}

export function ownCall(setup: ClosingSetup, context: ActorContext<never>): Call {
  const deadlineMs = context.clock.nowMs() + setup.ownCallTimeoutMs;
  return { deadlineMs, signal: context.signal, headers: {} };
}
