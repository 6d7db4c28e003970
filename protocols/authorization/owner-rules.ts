// Whose a thing is: a connection belongs to the hop before it, a name in a registry to whoever registered it first. The
// reference has client_allowed and service_connection (which it ships and does not load); connection_owner and
// hop_allowed are ours. Pure: a rule returns what it found wrong, or undefined.

import type { Finding } from './finding.ts';

/** A name in a registry and who comes for it. */
export interface NameClaim {
  readonly name: string;
  /** SPIFFE IDs of the hops through which the name was registered, the owner first; empty: nobody has it. */
  readonly recorded: readonly string[];
  /** Of the first token of the path: who wants it now. */
  readonly client: string;
  /** Who has called, proven. */
  readonly peer: string;
  /** The client operates the mesh, by its own call or by the word of a hop that may speak for it. */
  readonly isOperator?: boolean;
}

/**
 * The owner may change or remove a name. So may a hop through which it was registered, on its own account: a manager
 * whose Endpoint has died, or whose registry has lost its memory.
 */
export function clientAllowed(claim: NameClaim): Finding | undefined {
  const { name, recorded, client, peer, isOperator = false } = claim;
  const [owner] = recorded;
  const isOwnAccount = client === peer && recorded.includes(peer);
  if (owner === undefined || owner === client || owner === peer) return undefined;
  if (isOwnAccount || isOperator) return undefined;
  return {
    rule: 'client_allowed',
    expected: `${owner}, who registered ${name}`,
    found: client,
    remedy: 'take another name, or wait until its owner has unregistered it or it has expired',
  };
}

/** Of a subscription that names connections: the owners of those that are there. */
export function serviceConnection(
  owners: readonly (string | undefined)[],
  peer: string,
): Finding | undefined {
  if (owners.length === 0 || owners.includes(peer)) return undefined;
  return {
    rule: 'service_connection',
    expected: 'ids of connections whose path the caller stands in',
    found: `only connections of others (${peer})`,
  };
}

/** A connection that this hop has, and who wants to go on with it. */
export interface ConnectionClaim {
  /** Who stands before this hop in the connection as it was established; undefined: from before there were tokens. */
  readonly owner: string | undefined;
  /** Who has called, proven. */
  readonly peer: string;
  /** Whether the segments before the caller's are those of the connection, by id, name and SPIFFE ID, and not none. */
  readonly isSamePathBefore: boolean;
}

/**
 * The hop before may be another one than at first: a forwarder is replaced, a manager comes back under another pod. It is
 * believed where the hops before it are the same, which a stranger who calls directly cannot show; `hops` of the
 * access policy says who may stand there at all.
 */
export function connectionOwner(claim: ConnectionClaim): Finding | undefined {
  const { owner, peer, isSamePathBefore } = claim;
  if (owner === undefined || owner === peer || isSamePathBefore) return undefined;
  return {
    rule: 'connection_owner',
    expected: `${owner}, to whom the connection belongs`,
    found: peer,
    remedy: 'ask with an own connection id',
  };
}
