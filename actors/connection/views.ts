// What becomes of a connection as others see it when something happens to it from outside. Pure; undefined: it is no news.

import {
  type Connection,
  ConnectionEventType,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { viewOfNextHopEvent } from '../../protocols/nsm/monitor-selector.ts';

export interface NextHopNews {
  readonly entry: Connection;
  readonly event: ConnectionEventType;
}

export function viewAfter(
  stored: Connection,
  { entry, event }: NextHopNews,
): Connection | undefined {
  const isDeleted = event === ConnectionEventType.DELETE;
  const isInitial = event === ConnectionEventType.INITIAL_STATE_TRANSFER;
  return viewOfNextHopEvent(stored, entry, isDeleted, isInitial);
}

/** One that is DOWN is being healed, which asks for more than a wish does. */
export function wishedFor(stored: Connection, wished: State): Connection | undefined {
  return stored.state === State.DOWN ? undefined : inState(stored, wished);
}

export function inState(stored: Connection, state: State): Connection | undefined {
  return stored.state === state ? undefined : { ...stored, state };
}
