// What kind of Request a hop has before it, and what follows from that for its time and its failure. Pure.

import { type Connection, State } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Call } from './hop.ts';

interface Asked {
  readonly connection: Connection;
  readonly call: Call;
}

export function isReselect({ state }: Connection): boolean {
  return state === State.RESELECT_REQUESTED;
}

/**
 * The call with nobody but its own actor's end to cancel it. A first Request whose caller has gone runs to its end or its deadline and is undone
 * then: cancelled on its way it might cross the answer of the next hop, and that hop would keep what only the
 * answer could have named. A refresh asks those who know of the connection anyway; given up, it makes way for what
 * comes behind it. A process that stops waits for neither.
 */
export function toItsEnd(call: Call, actor: { readonly signal: AbortSignal }): Call {
  return { ...call, signal: actor.signal };
}

/**
 * Whether a failed Request says something of the wire that is there, and goes upstream: not that no other Endpoint was
 * to be had, nor that the caller wants no answer any more.
 */
export function speaksOfWire({ connection, call }: Asked): boolean {
  return !isReselect(connection) && !call.signal.aborted;
}
