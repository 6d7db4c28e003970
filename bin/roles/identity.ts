// `vwire identity`: a Workload API for machines without SPIRE. For development only, and it says so.

import { join, resolve } from 'node:path';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import {
  createIdentityServer,
  type IdentityServer,
  keepIdentityFiles,
  readSavedAuthority,
} from '../../transports/spiffe-ts/spiffe.ts';
import { loadIdentityConfig } from '../config/load.ts';
import type { IdentityConfig } from '../config/roles/identity.ts';
import { runRoleProcess, stateDirOf } from './role-process.ts';

/** Users of this machine can only be told apart by the kernel, so anybody may open their socket. */
const usersSocket = 'users.sock';

export async function run(): Promise<number> {
  const config = loadIdentityConfig(process.env);
  const directory = resolve(config.directory ?? join(stateDirOf(config), 'identity'));
  const urls: string[] = [];
  return runRoleProcess({
    role: 'identity',
    name: 'identity',
    config,
    urls: [],
    phases: (_, log) => [
      {
        name: `serve the identities of ${config.trustDomain} in ${directory}`,
        check: 'may this user write there? is another identity server serving there?',
        start: async () => {
          const saved = readSavedAuthority(directory);
          const server = createIdentityServer({
            trustDomain: config.trustDomain,
            clock: systemClock,
            wallClock: systemWallClock,
            log,
            svidLifetimeMs: config.svidLifetimeMs,
            caKey: config.caKey,
            ...(saved === undefined ? {} : { saved }),
          });
          urls.push(...(await serveAll(server, config, directory)));
          const files = keepIdentityFiles(server, {
            directory,
            federation: config.federatesWith,
            clock: systemClock,
            log,
          });
          return async () => {
            files.stop();
            await server.close();
          };
        },
      },
    ],
    readyUrls: () => urls,
  });
}

async function serveAll(
  server: IdentityServer,
  { trustDomain, workloads, users }: IdentityConfig,
  directory: string,
): Promise<readonly string[]> {
  const idOf = (path: string): string => `spiffe://${trustDomain}/${path.replace(/^\//, '')}`;
  const socketOf = (name: string): string => `unix://${join(directory, name)}`;
  const urls: string[] = [];
  for (const path of workloads) {
    // A path of several segments still is one file.
    const name = `${path.replace(/^\//, '').replaceAll('/', '_')}.sock`;
    urls.push((await server.serve(socketOf(name), [idOf(path)])).url);
  }
  if (users.size === 0) return urls;
  const { url } = await server.servePeers(socketOf(usersSocket), ({ uid }) => {
    const path = users.get(String(uid));
    return path === undefined ? [] : [idOf(path)];
  });
  return [...urls, url];
}
