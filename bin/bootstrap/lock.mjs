// One preparation at a time per directory, across processes: a lock file that names its holder. A lock whose holder
// is gone is taken over, so that a killed preparation never blocks the next one.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { BootstrapError } from './steps.mjs';

const waitMsMax = 15 * 60_000;
const pollMs = 200;

function holderIsAlive(path) {
  const pid = Number.parseInt(readFileSync(path, 'utf8'), 10);
  if (!(pid > 0)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function tryLock(path) {
  try {
    writeFileSync(path, `${process.pid}\n`, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
  try {
    if (!holderIsAlive(path)) rmSync(path, { force: true });
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  return false;
}

/** Runs `work` while holding the lock file `path`. */
export async function withLock(path, work) {
  mkdirSync(dirname(path), { recursive: true });
  const giveUpMs = Date.now() + waitMsMax;
  while (!tryLock(path)) {
    if (Date.now() > giveUpMs) {
      throw new BootstrapError(
        `another preparation has held ${path} for ${waitMsMax / 60_000} minutes`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  const unlock = () => rmSync(path, { force: true });
  process.once('exit', unlock);
  try {
    return await work();
  } finally {
    process.removeListener('exit', unlock);
    unlock();
  }
}
