// What a development identity server keeps in its directory: its CA, so that a restart changes nobody's trust, and its
// bundle document, which servers of other trust domains read to federate with it.
// Invariants: files are replaced whole; the CA's is readable by its owner only; a broken file of another server changes
// nothing and is reported once.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeError, NsmError } from '../../../protocols/errors.ts';
import type { Clock, Timer } from '../../../protocols/ports/clock.ts';
import type { Log } from '../../../protocols/ports/log.ts';
import { isJsonObject, readJson } from '../../../protocols/spiffe/jwt.ts';
import type { SavedAuthority } from './authority.ts';
import type { IdentityServer } from './identity-server.ts';

const authorityFile = 'authority.json';
export const bundleFile = 'bundle.json';
/** How often bundle documents of others are read. */
const rereadMs = 1_000;

/** What an earlier process saved. Errors: INVALID_ARGUMENT where the file holds something else. */
export function readSavedAuthority(directory: string): SavedAuthority | undefined {
  const path = join(directory, authorityFile);
  const bytes = readOrNothing(path);
  if (bytes === undefined) return undefined;
  const value = readJson(bytes);
  if (isJsonObject(value) && Array.isArray(value['generations'])) {
    return value as unknown as SavedAuthority;
  }
  throw new NsmError('INVALID_ARGUMENT', 'the saved CA cannot be read', {
    rule: 'authority',
    expected: 'what an earlier process wrote',
    found: path,
    remedy: 'delete the file: a new CA is made, and every workload trusts it as soon as it is told',
  });
}

export interface IdentityFilesOptions {
  readonly directory: string;
  /** Path of a bundle document by trust domain. */
  readonly federation: ReadonlyMap<string, string>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Keeps the files and the server in step until stopped. */
export function keepIdentityFiles(
  server: IdentityServer,
  options: IdentityFilesOptions,
): { stop(): void } {
  const { directory, federation, clock, log } = options;
  mkdirSync(directory, { recursive: true });
  const write = (): void => {
    const saved = JSON.stringify(server.save());
    replaceFile(join(directory, authorityFile), saved, 0o600);
    replaceFile(join(directory, bundleFile), server.bundle(), 0o644);
  };
  write();
  const stopWatching = server.watchBundle(write);
  const reported = new Map<string, string>();
  const read = (): void => {
    for (const [trustDomain, path] of federation) {
      const problem = federate(server, trustDomain, path);
      if (problem !== undefined && reported.get(trustDomain) !== problem) {
        log.warn('the bundle of another trust domain cannot be read', { trustDomain, problem });
      }
      if (problem === undefined) reported.delete(trustDomain);
      else reported.set(trustDomain, problem);
    }
  };
  let timer: Timer;
  const again = (): void => {
    read();
    timer = clock.after(rereadMs, again);
  };
  again();
  return {
    stop: () => {
      timer.cancel();
      stopWatching();
    },
  };
}

/** What is wrong, if anything is. */
function federate(server: IdentityServer, trustDomain: string, path: string): string | undefined {
  const bytes = readOrNothing(path);
  if (bytes === undefined) return `there is no file ${path}`;
  try {
    server.federate(trustDomain, bytes);
    return undefined;
  } catch (error) {
    return describeError(error);
  }
}

function readOrNothing(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function replaceFile(path: string, content: string | Uint8Array, mode: number): void {
  writeFileSync(`${path}.new`, content, { mode });
  renameSync(`${path}.new`, path);
}
