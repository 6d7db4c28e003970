// How many TLS connections this process has had, by either side, as Node itself tells: each makes one TLSWRAP, which goes
// through one handshake.

import { createHook } from 'node:async_hooks';

let count = 0;
let isCounting = false;

/** Since the first call, which returns 0. */
export function countHandshakes(): number {
  if (!isCounting) {
    isCounting = true;
    createHook({
      init: (_, type) => {
        if (type === 'TLSWRAP') count += 1;
      },
    }).enable();
  }
  return count;
}
