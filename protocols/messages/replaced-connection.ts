// The word that streams end with when the connection under them is replaced before a certificate of one of its sides
// ends: nothing is wrong with the peer, and whoever opens the stream again gets a new connection at once.

import { NsmError } from '../errors.ts';

const rule = 'svid-rotation';

export function connectionReplaced(url: string, found: string): NsmError {
  return new NsmError('UNAVAILABLE', 'the connection is replaced', {
    rule,
    expected: 'a connection that both sides have proven with certificates of now',
    found: `${found} (${url})`,
    remedy: 'call again',
  });
}

export function isConnectionReplaced(error: unknown): boolean {
  return error instanceof NsmError && error.details.rule === rule;
}
