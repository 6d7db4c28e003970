// The reference's updatetoken element: the caller's token and expiry from the call's metadata go into the previous
// path segment, this hop's own into its own segment. Until identities exist the token is empty and only the expiry
// counts; the expiry of the previous segment is what this hop closes the connection by.

import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { NsmError } from '../../protocols/errors.ts';
import { claimedLifeMs } from '../../protocols/nsm/claimed-life.ts';
import { timestampFromEpochMs, timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import { withSegment } from '../../protocols/nsm/path.ts';
import { parseTokenExpiry } from '../../protocols/nsm/token-expiry.ts';
import { tokenExpiresHeader, tokenHeader } from '../../protocols/nsm/token-metadata.ts';
import type { WallClock } from '../../protocols/ports/clock.ts';
import type { TokenPeer } from '../../protocols/ports/rpc.ts';
import type { Call } from './hop.ts';

/** Makes this process's own path tokens. */
export interface TokenSource {
  /** `peer`: whom it is for, where that is known. It ends no later than trust in that peer. */
  token(peer: TokenPeer | undefined): Promise<{ token: string; expiresAtEpochMs: number }>;
  /** Of an own token: what a peer that knows this process by an older key is given in its place, where it has to be. */
  readonly resign?: (
    token: string,
    peer: TokenPeer,
  ) => { readonly token: string; readonly expiresAtEpochMs: number } | undefined;
}

/** Tokens of a process without identity: empty, and as long-lived as configured. */
export function emptyTokens(wallClock: WallClock, lifetimeMs: number): TokenSource {
  return {
    token: () => Promise.resolve({ token: '', expiresAtEpochMs: wallClock.epochMs() + lifetimeMs }),
  };
}

interface ExpirySetup {
  readonly name: string;
  readonly wallClock: WallClock;
}

/**
 * Milliseconds until the previous segment's token expires. Where there is no token to be judged by the wall clock, the
 * life that the caller claims counts, however far apart the clocks are. Throws INVALID_ARGUMENT where nothing says when.
 */
export function expiryOfPrevious(connection: Connection, call: Call, setup: ExpirySetup): number {
  const index = connection.path?.index ?? 0;
  const claimedMs = claimedLifeMs(call.headers);
  const token = call.headers[tokenHeader] ?? connection.path?.pathSegments[index - 1]?.token ?? '';
  if (claimedMs !== undefined && token === '') return claimedMs;
  const header = call.headers[tokenExpiresHeader];
  const expires =
    header === undefined
      ? connection.path?.pathSegments[index - 1]?.expires
      : parseTokenExpiry(header);
  if (expires === undefined) {
    throw new NsmError('INVALID_ARGUMENT', 'the previous path segment says no expiry', {
      hop: setup.name,
      rule: 'update-token',
      expected: `metadata ${tokenExpiresHeader}, or expires in path segment ${index - 1}`,
      found: 'neither',
      connectionId: connection.id,
    });
  }
  const inMs = timestampToEpochMs(expires) - setup.wallClock.epochMs();
  if (inMs <= 0) {
    throw new NsmError('INVALID_ARGUMENT', 'the token of the previous path segment has expired', {
      hop: setup.name,
      rule: 'tokens_expired',
      expected: 'an expiry in the future',
      found: `${Math.round(-inMs)} ms ago`,
      remedy: 'refresh with a new token; compare the clocks of both machines',
      connectionId: connection.id,
    });
  }
  return inMs;
}

/** The connection with the caller's token in the previous segment and an own one in this hop's segment. */
export async function withTokens(
  connection: Connection,
  call: Call,
  tokens: TokenSource,
): Promise<Connection> {
  const index = connection.path?.index ?? 0;
  const callerToken = call.headers[tokenHeader];
  const callerExpires = call.headers[tokenExpiresHeader];
  const own = await tokens.token(call.peer);
  const signed = withSegment(connection, index, {
    token: own.token,
    expires: timestampFromEpochMs(own.expiresAtEpochMs),
  });
  if (callerToken === undefined || callerExpires === undefined) return signed;
  return withSegment(signed, index - 1, {
    token: callerToken,
    expires: parseTokenExpiry(callerExpires),
  });
}
