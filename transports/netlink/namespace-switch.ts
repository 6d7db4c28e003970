// Doing one short thing in another network namespace: switch this thread there, act, switch back.
// Invariant: nothing else runs on the thread in between (the action is synchronous), and a thread that cannot
// return ends the process, since everything it did next would happen in the wrong place.

import { closeSync, openSync } from 'node:fs';

import { checked, lastErrno, libc, networkNamespace } from './libc.ts';
import { errnoName } from '../../protocols/netlink/errno.ts';

/** Runs `action` with the thread in the namespace of `descriptor`. The action must not await anything. */
export function inNamespace<Result>(descriptor: number, action: () => Result): Result {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    checked(libc.setns(descriptor, networkNamespace), 'enter the network namespace');
    try {
      return action();
    } finally {
      if (libc.setns(home, networkNamespace) < 0) {
        process.stderr.write(`could not leave a namespace: ${errnoName(lastErrno())}\n`);
        process.abort();
      }
    }
  } finally {
    closeSync(home);
  }
}
