// The lock that keeps two processes out of one journal. flock(2) through koffi rather than a file with a pid:
// the kernel releases it when the holder dies, however it dies, so there is no stale lock to judge, no pid that
// was used again, and no race between looking and taking. The file's content only names the holder for people.

import {
  closeSync,
  constants,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import koffi from 'koffi';
import { NsmError } from '../../protocols/errors.ts';

export interface ExclusiveLock {
  release(): void;
}

/** <asm-generic/fcntl.h>: LOCK_EX | LOCK_NB. */
const lockExclusiveNonBlocking = 2 | 4;
/** <asm-generic/errno.h>: EWOULDBLOCK, EINTR. */
const wouldBlock = 11;
const interrupted = 4;

let flock: ReturnType<ReturnType<typeof koffi.load>['func']> | undefined;

/** Errors: FAILED_PRECONDITION naming the holder's pid; UNIMPLEMENTED where the file system has no locks. */
export function acquireExclusiveLock(path: string): ExclusiveLock {
  // Never unlinked: a second opener could otherwise lock a file that has no name any more.
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  const errno = tryLock(fd);
  if (errno !== 0) {
    const holder = readHolder(fd);
    closeSync(fd);
    throw lockError(path, errno, holder);
  }
  ftruncateSync(fd, 0);
  writeSync(fd, `${process.pid}\n`, 0);
  fsyncSync(fd);
  let held = true;
  return {
    release: () => {
      if (!held) return;
      held = false;
      closeSync(fd);
    },
  };
}

function tryLock(fd: number): number {
  flock ??= koffi.load(null).func('int flock(int fd, int operation)');
  for (let attempt = 0; attempt < 16; attempt += 1) {
    if (flock?.(fd, lockExclusiveNonBlocking) === 0) return 0;
    const errno = koffi.errno();
    if (errno !== interrupted) return errno;
  }
  return interrupted;
}

function readHolder(fd: number): string {
  const text = Buffer.alloc(32);
  const bytes = readSync(fd, text, 0, text.length, 0);
  return text.toString('latin1', 0, bytes).trim() || 'unknown';
}

function lockError(path: string, errno: number, holder: string): NsmError {
  if (errno !== wouldBlock) {
    return new NsmError('UNIMPLEMENTED', `cannot lock ${path}`, {
      rule: 'journal-lock',
      expected: 'a file system with flock(2)',
      found: `errno ${errno}`,
      remedy: 'put the state directory on a local file system',
    });
  }
  return new NsmError('FAILED_PRECONDITION', `the journal is in use by process ${holder}`, {
    rule: 'journal-lock',
    expected: 'one process per state directory and name',
    found: `${path} is locked by process ${holder}`,
    remedy: `stop process ${holder}, or give this one another state directory or name`,
  });
}
