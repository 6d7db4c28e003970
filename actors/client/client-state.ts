// The phases of a client's connection, what it holds in each, and which may follow which.

import { invariant, type NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Attempt } from './attempt.ts';
import type { Healing } from './heal-decision.ts';

interface Trying {
  /** The try under way; all but a Close and a verdict about the wire waits for its outcome. */
  readonly attempt?: Attempt;
}

export interface Requesting extends Trying {
  readonly phase: 'requesting';
  /** What the manager held of the last life, until a refusal speaks against it. */
  readonly recovered: Connection | undefined;
  /** Whether the manager is still to be asked for it. */
  readonly recovers: boolean;
  /** A first Request had no answer, so that the manager may hold what it made. */
  readonly mayBeHeld: boolean;
  readonly attempts: number;
  readonly healing: Healing;
}

/** A hop has asked the client to go to another Endpoint; it keeps its wire until it has one there. */
export interface Moving {
  readonly attempts: number;
  /** The try under way is a move, not a refresh. */
  readonly isTrying: boolean;
}

export interface Established extends Trying {
  readonly phase: 'established';
  readonly connection: Connection;
  /** As in the plan of its next refresh. */
  readonly hurried: number;
  /** Healings since the connection has lasted for a while: the pause before the next one grows with them. */
  readonly heals: number;
  readonly moving?: Moving;
}

/** What set the healing off. */
export type HealingCause = 'control plane' | 'wire' | 'service';

export interface Repairing extends Trying {
  readonly phase: 'healing';
  readonly connection: Connection;
  readonly cause: HealingCause;
  readonly controlPlane: 'up' | 'lost';
  /** As of an established connection, this one included. */
  readonly heals: number;
  /** That failed so far. */
  readonly attempts: number;
  readonly healing: Healing;
  /** The last try asked for another Endpoint. */
  readonly hasReselected: boolean;
  readonly moving?: Moving;
  readonly lastError?: NsmError;
}

export type Live = Requesting | Established | Repairing;
export type ClientState = Live | { readonly phase: 'closed' };

const allowed: Readonly<Record<ClientState['phase'], readonly ClientState['phase'][]>> = {
  requesting: ['established', 'closed'],
  established: ['established', 'healing', 'closed'],
  healing: ['established', 'closed'],
  closed: ['closed'],
};

export function transition<Next extends ClientState>(state: ClientState, next: Next): Next {
  invariant(allowed[state.phase].includes(next.phase), `${state.phase} -> ${next.phase}`);
  return next;
}
