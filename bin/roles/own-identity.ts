// The identity of a role's process: waited for at its start, followed while it runs, and behind everything by which
// the process proves itself: TLS, the tokens in path segments, and the token that every call carries.

import type { TokenSource } from '../../actors/connection/tokens.ts';
import { describeError, NsmError } from '../../protocols/errors.ts';
import { timestampFromEpochMs } from '../../protocols/nsm/expiry.ts';
import { formatTokenExpiry } from '../../protocols/nsm/token-expiry.ts';
import { tokenExpiresHeader, tokenHeader } from '../../protocols/nsm/token-metadata.ts';
import type { Identity, SignedPathToken } from '../../protocols/ports/identity.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { CallHeaders, Headers, Peer, TokenPeer } from '../../protocols/ports/rpc.ts';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import { systemRandom } from '../../transports/process/system-random.ts';
import { createIdentitySource, endpointVariable } from '../../transports/spiffe-ts/spiffe.ts';

export interface OwnIdentity {
  readonly identity: Identity;
  readonly tokens: TokenSource;
  readonly callHeaders: CallHeaders;
  /** The process as its own peer. */
  readonly peer: () => Peer;
}

/** A SPIRE agent that has just been started needs some seconds until it knows its workloads. */
const waitMs = 20_000;

/** Errors: INVALID_ARGUMENT (the endpoint), UNAUTHENTICATED naming the endpoint and what came of it. */
export async function obtainIdentity(options: {
  /** URL of the Workload API. */
  readonly endpoint: string;
  /** NSM_MAX_TOKEN_LIFETIME; may be negative, as the reference allows. */
  readonly maxTokenLifetimeMs: number;
  readonly log: Log;
}): Promise<OwnIdentity> {
  const { endpoint, maxTokenLifetimeMs, log } = options;
  const identity = createIdentitySource({
    endpoint,
    clock: systemClock,
    wallClock: systemWallClock,
    random: systemRandom,
    log,
  });
  try {
    await identity.ready({ timeoutMs: waitMs });
  } catch (cause) {
    await identity.close();
    throw new NsmError('UNAUTHENTICATED', 'this process got no identity', {
      rule: 'own-identity',
      expected: `an X.509-SVID from the Workload API at ${endpoint} within ${waitMs / 1000} s`,
      found: describeError(cause),
      remedy: `start the SPIRE agent or "vwire identity" there, register this workload, or correct ${endpointVariable}`,
      cause,
    });
  }
  // As in the reference, what is said about the token's end heeds the peer's certificate, and the claim within does not.
  const sign = (peer: TokenPeer | undefined): SignedPathToken => {
    const { token, expiresAtMs } = identity.signPathToken(
      peer?.spiffeId,
      maxTokenLifetimeMs,
      peer?.ownLeaf,
    );
    return { token, expiresAtMs: Math.min(expiresAtMs, peer?.trustedUntilMs ?? Infinity) };
  };
  return {
    identity,
    tokens: {
      token: (peer) => {
        const { token, expiresAtMs } = sign(peer);
        return Promise.resolve({ token, expiresAtEpochMs: expiresAtMs });
      },
      resign: (token, { ownLeaf }) => {
        const signed = ownLeaf && identity.resignPathToken(token, ownLeaf);
        return signed && { token: signed.token, expiresAtEpochMs: signed.expiresAtMs };
      },
    },
    callHeaders: callHeadersOf(sign, log),
    peer: peerOf(identity),
  };
}

function callHeadersOf(
  sign: (peer: TokenPeer | undefined) => SignedPathToken,
  log: Log,
): CallHeaders {
  const make = (peer: TokenPeer | undefined): Headers => {
    try {
      const { token, expiresAtMs } = sign(peer);
      const expires = formatTokenExpiry(timestampFromEpochMs(expiresAtMs));
      return { [tokenHeader]: token, [tokenExpiresHeader]: expires };
    } catch (error) {
      // The callee refuses it, and says so to whoever called.
      log.error('called without a token', { error: describeError(error) });
      return {};
    }
  };
  return { names: [tokenHeader, tokenExpiresHeader], make };
}

function peerOf(identity: Identity): () => Peer {
  let known: Peer = { binding: 'memory' };
  return () => {
    const leaf = identity.current()?.svid.chain[0];
    if (leaf !== known.leaf) {
      const spiffeId = identity.current()?.svid.spiffeId;
      known = {
        binding: 'memory',
        ...(leaf === undefined || spiffeId === undefined ? {} : { leaf, spiffeId }),
      };
    }
    return known;
  };
}
