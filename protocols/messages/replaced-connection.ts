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

/** Both sides may renew their certificates at almost the same time, and each time ends a stream. */
const rowMax = 5;
const rowMs = 1_000;

/** Whether a stream may be opened again at once, which ended because its connection was replaced: not in a tight row. */
export class Replacements {
  #inRow = 0;

  /** `livedMs`: since the stream was opened. */
  mayReopen(error: unknown, livedMs: number): boolean {
    if (!isConnectionReplaced(error)) return false;
    this.#inRow = livedMs < rowMs ? this.#inRow + 1 : 1;
    return this.#inRow <= rowMax;
  }
}
