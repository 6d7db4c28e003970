// A client that was asked to go to another Endpoint (RESELECT_REQUESTED), make before break. Invariants: its wire stays
// as it is until the new path has answered; where no other Endpoint is to be had it stays for good, and the
// client asks again with back-off as long as the wish stands.

import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { backoffMs, type Context, type Equipped } from './client-setup.ts';
import type { Established, Live } from './client-state.ts';

/** After up to half of the first pause: many clients are asked at once. */
export function move(setup: Equipped, context: Context, state: Established): Established {
  const withinMs = setup.retry.firstMs / 2;
  context.timers.start('move', (withinMs * context.random.integer(1000)) / 1000, {
    type: 'moveDue',
  });
  return { ...state, moving: { attempts: 0, isTrying: false } };
}

/**
 * A refresh answers the wish of a client that cannot move yet. Whoever is not heard of is taken for one that knows no moving,
 * and is closed after a grace.
 */
export function showGoodWill(context: Context): void {
  context.timers.start('refresh', 0, { type: 'refreshDue' });
}

/** The wish is withdrawn. */
export function stay(context: Context, state: Established): Established {
  context.timers.cancel('move');
  const { moving: _, ...rest } = state;
  return rest;
}

/** `failed`: moves that failed before. */
export function moveLater(
  setup: Equipped,
  context: Context,
  state: Established,
  failed: number,
): Established {
  const attempts = failed + 1;
  context.timers.start('move', backoffMs(setup, context, attempts), { type: 'moveDue' });
  return { ...state, moving: { attempts, isTrying: false } };
}

export function failedMoves(state: Live): number {
  return state.phase === 'requesting' ? 0 : (state.moving?.attempts ?? 0);
}

/** A client that is bound to one Endpoint has moved where that one has answered anew. */
export function hasStayed(setup: Equipped, state: Live, answer: Connection): boolean {
  return (
    state.phase === 'established' &&
    state.moving?.isTrying === true &&
    setup.endpointName === undefined &&
    answer.networkServiceEndpointName === state.connection.networkServiceEndpointName
  );
}
