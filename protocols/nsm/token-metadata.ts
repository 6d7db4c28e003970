// The caller's path token in the metadata of a call (nsm-wire 6.4): made for the one who is called, and for nobody behind.

import type { Headers } from '../ports/rpc.ts';

export const tokenHeader = 'nsm-client-token';
/** RFC 3339; see token-expiry.ts. */
export const tokenExpiresHeader = 'nsm-client-token-expires';

/** What a hop may pass on: the next one gets a token of the hop itself, and two would count as none. */
export function withoutToken(headers: Headers): Headers {
  if (headers[tokenHeader] === undefined && headers[tokenExpiresHeader] === undefined) {
    return headers;
  }
  const { [tokenHeader]: _, [tokenExpiresHeader]: __, ...rest } = headers;
  return rest;
}
