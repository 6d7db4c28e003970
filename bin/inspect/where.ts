// Which manager a command talks to: `--connect-to`, else the socket in the state directory, as `vwire up` and
// `vwire node` place it.

import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { NsmError } from '../../protocols/errors.ts';
import { parseGrpcUrl } from '../../transports/grpc/grpc-address.ts';
import { UsageError, type ParsedArguments } from '../commands/arguments.ts';
import { loadCommonConfig } from '../config/load.ts';
import { endpointVariable } from '../../transports/spiffe-ts/spiffe.ts';
import { identityFolder, socketIn } from '../roles/part-identities.ts';
import { stateDirOf } from '../roles/role-process.ts';

/** Name of the manager's socket in a state directory, the reference's own. */
export const managerSocketName = 'nsm.io.sock';

export const startHint =
  'start a mesh with "vwire up", or say where one is with --state-dir or --connect-to';

/** The manager's URL. Errors: UsageError where both options are given. */
export function managerUrl({ options }: ParsedArguments): string {
  const { connectTo } = options;
  const directory = options['stateDir'];
  if (typeof connectTo === 'string') {
    if (directory === undefined) return connectTo;
    throw new UsageError('--state-dir and --connect-to both name a manager; give one of them');
  }
  return `unix://${join(stateDirectory(options), managerSocketName)}`;
}

/** `--state-dir`, else as every role finds it. */
export function stateDirectory(options: ParsedArguments['options']): string {
  const given = options['stateDir'];
  return resolve(typeof given === 'string' ? given : stateDirOf(loadCommonConfig(process.env)));
}

/**
 * The Workload API for whoever asks that manager: SPIFFE_ENDPOINT_SOCKET, else the development one beside the manager's
 * socket; undefined where there is none, or plaintext is asked for.
 */
export function operatorWorkloadApi(url: string): string | undefined {
  if (loadCommonConfig(process.env).insecure) return undefined;
  const named = process.env[endpointVariable];
  if (named !== undefined) return named;
  const address = parseGrpcUrl(url);
  if (address.kind !== 'unix') return undefined;
  const beside = socketIn(join(dirname(address.path), identityFolder), 'operator');
  return existsSync(beside.slice('unix://'.length)) ? beside : undefined;
}

/** Says what is wrong with a socket before gRPC does so in its own words. Errors: UNAVAILABLE, PERMISSION_DENIED, INVALID_ARGUMENT. */
export function checkSocket(url: string): void {
  const address = parseGrpcUrl(url);
  if (address.kind !== 'unix') return;
  const { path } = address;
  try {
    if (!statSync(path).isSocket()) throw noManager(url, 'what is there is no socket');
    accessSync(path, constants.R_OK | constants.W_OK);
  } catch (error) {
    if (error instanceof NsmError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM') {
      throw new NsmError('PERMISSION_DENIED', `the manager at ${url} may not be asked`, {
        found: `user ${process.getuid?.()} has no right to use that socket`,
        remedy: 'run the command as the user that runs the mesh',
      });
    }
    throw noManager(url, code === 'ENOENT' ? 'there is no such socket' : String(code));
  }
}

export function noManager(url: string, found: string): NsmError {
  return new NsmError('UNAVAILABLE', `no manager answers at ${url}`, { found, remedy: startHint });
}
