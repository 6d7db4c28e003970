// Identities for the processes of a mesh on one machine, from a development server in this process: each has a SPIFFE
// ID of its own, and whoever asks about a node has one beside the manager's socket.

import { join } from 'node:path';
import type { Log } from '../../protocols/ports/log.ts';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import { createIdentityServer, endpointVariable } from '../../transports/spiffe-ts/spiffe.ts';
import { commonVariables } from '../config/common.ts';
import { identityDirVariable, identityFolder, socketIn } from '../roles/part-identities.ts';

export interface MeshIdentities {
  /** Variables by which a process gets its identity, or its children theirs. Idempotent. */
  of(role: string, name: string): Promise<Readonly<Record<string, string>>>;
  close(): Promise<void>;
}

/** Parts of a node that ask for themselves, and people with commands. */
const partsOfNode = ['nsmgr', 'forwarder', 'operator'] as const;

export function createMeshIdentities(options: {
  readonly trustDomain: string;
  /** Of the mesh: each process has a directory in it. */
  readonly stateDir: string;
  readonly log: Log;
  readonly svidLifetimeMs?: number;
}): MeshIdentities {
  const { trustDomain, stateDir } = options;
  const server = createIdentityServer({
    ...options,
    clock: systemClock,
    wallClock: systemWallClock,
  });
  const serving = new Map<string, Promise<unknown>>();
  const serve = async (directory: string, part: string, path: string): Promise<string> => {
    const url = socketIn(directory, part);
    const known = serving.get(url) ?? server.serve(url, [`spiffe://${trustDomain}/${path}`]);
    serving.set(url, known);
    await known;
    return url;
  };
  return {
    async of(role, name) {
      const directory = join(stateDir, name, identityFolder);
      if (role !== 'node') return { [endpointVariable]: await serve(directory, 'own', name) };
      for (const part of partsOfNode) await serve(directory, part, `${name}/${part}`);
      // Each node asks the other's manager to drain, and people ask any of them.
      const parts = `spiffe://${trustDomain}/node-*`;
      return { [identityDirVariable]: directory, [commonVariables.operators.name]: parts };
    },
    close: () => server.close(),
  };
}

export const withoutIdentities: MeshIdentities = {
  of: () => Promise.resolve({ VWIRE_INSECURE: 'true' }),
  close: () => Promise.resolve(),
};
