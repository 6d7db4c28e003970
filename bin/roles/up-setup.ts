// What both forms of `vwire up` have in common: where things lie, what things are called, and one owner per state
// directory. Invariant: two meshes of one machine have different installation ids, so that neither touches the
// kernel objects of the other.

import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, realpathSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type { Log } from '../../protocols/ports/log.ts';
import { parseGrpcUrl } from '../../transports/grpc/grpc-address.ts';
import { acquireExclusiveLock } from '../../transports/journal/exclusive-lock.ts';
import { createProcessLog } from '../../transports/process/pino-log.ts';
import type { CommonConfig } from '../config/load.ts';
import type { PartIdentities } from './part-identities.ts';

export interface UpSetup {
  readonly config: CommonConfig;
  readonly stateDir: string;
  readonly node: string;
  readonly installation: string;
  /** Where workloads find the manager. */
  readonly socketUrl: string;
  readonly log: Log;
  readonly identities: PartIdentities;
  /** One line for the person who started it: part, then what there is of it. */
  readonly say: (part: string, text: string) => void;
}

/** Takes the state directory. Errors: FAILED_PRECONDITION (in use, by whom), PERMISSION_DENIED, INVALID_ARGUMENT. */
export function claimStateDirectory(stateDir: string, socketUrl: string): () => void {
  parseGrpcUrl(socketUrl);
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o755 });
    const lock = acquireExclusiveLock(join(stateDir, 'up.lock'));
    return () => {
      // Left by a manager that had to be killed.
      rmSync(new URL(socketUrl.replace(/^unix:/, 'file:')), { force: true });
      lock.release();
    };
  } catch (thrown) {
    throw explained(stateDir, thrown);
  }
}

function explained(stateDir: string, thrown: unknown): NsmError {
  const { code } = thrown as NodeJS.ErrnoException;
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS' || code === 'ENOTDIR') {
    return new NsmError('PERMISSION_DENIED', `the state directory ${stateDir} cannot be used`, {
      found: `${code} for user ${process.getuid?.()}`,
      remedy: 'name another one with --state-dir',
    });
  }
  const error = asNsmError(thrown);
  const holder = /process (\d+)/.exec(error.details.found ?? '')?.[1];
  if (error.code !== 'FAILED_PRECONDITION' || holder === undefined) return error;
  return new NsmError('FAILED_PRECONDITION', `a mesh already runs on ${stateDir}`, {
    found: `process ${holder} holds it`,
    remedy: `look at it with "vwire status --state-dir ${stateDir}", stop process ${holder}, or name another --state-dir`,
  });
}

/** As configured; by default the directory's own, since two meshes of one machine must not share one. */
export function installationOf(config: CommonConfig, stateDir: string): string {
  if (process.env['VWIRE_INSTALLATION'] !== undefined) return config.installation;
  const hash = createHash('sha256').update(realpathSync(stateDir)).digest('hex');
  return `up-${hash.slice(0, 10)}`;
}

/** A log in the state directory; errors are also told to the person. */
export function openUpLog(
  stateDir: string,
  level: CommonConfig['logLevel'],
  onError: (message: string, fields: Readonly<Record<string, unknown>>) => void,
): { readonly log: Log; close(): void } {
  const descriptor = openSync(join(stateDir, 'up.log'), 'a', 0o600);
  const sink = { write: (line: string) => void writeSync(descriptor, line) };
  const { log } = createProcessLog({ level, fields: { component: 'up' }, sink });
  const telling: Log = {
    ...log,
    error(message, fields = {}) {
      log.error(message, fields);
      onError(message, fields);
    },
  };
  return { log: telling, close: () => closeSync(descriptor) };
}
