// JWT-SVIDs that this process asked for: what the Workload API answered must be what was asked. The holder does not
// verify the signature; whoever the token is shown to does.

import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type { JWTSVIDResponse } from '../../protocols/nsm/gen/workload_pb.ts';
import type { JwtSvid, JwtSvidRequest } from '../../protocols/ports/identity.ts';
import { parseJwt } from '../../protocols/spiffe/jwt.ts';
import { checkJwtSvidClaims, checkJwtSvidHeader } from '../../protocols/spiffe/jwt-svid.ts';
import { parseSpiffeId } from '../../protocols/spiffe/spiffe-id.ts';

/** The first of the answer, or the one of the SPIFFE ID asked for. Errors: UNAUTHENTICATED. */
export function readHeldJwtSvids(
  { svids }: JWTSVIDResponse,
  request: JwtSvidRequest,
  nowMs: number,
): JwtSvid {
  const { spiffeId } = request;
  const entry = spiffeId === undefined ? svids[0] : svids.find((one) => one.spiffeId === spiffeId);
  if (entry === undefined) {
    throw refuse(spiffeId ?? 'a JWT-SVID', `${svids.length} others`);
  }
  try {
    parseSpiffeId(entry.spiffeId);
    const jwt = parseJwt(entry.svid);
    checkJwtSvidHeader(jwt.header);
    const claims = checkJwtSvidClaims(jwt, undefined, nowMs);
    if (claims.spiffeId.text !== entry.spiffeId) {
      throw refuse(entry.spiffeId, claims.spiffeId.text);
    }
    const missing = request.audience.find((one) => !claims.audience.includes(one));
    if (missing !== undefined) throw refuse(`the audience ${missing}`, 'others');
    const { spiffeId: id, svid: token, hint } = entry;
    return { spiffeId: id, token, expiresAtMs: claims.expiresAtMs, hint };
  } catch (thrown) {
    const { message, details } = asNsmError(thrown);
    throw new NsmError('UNAUTHENTICATED', message, { ...details, cause: thrown });
  }
}

function refuse(expected: string, found: string): NsmError {
  return new NsmError('UNAUTHENTICATED', 'the Workload API gave another JWT-SVID', {
    rule: 'workload-api-jwt-svid',
    expected,
    found,
  });
}
