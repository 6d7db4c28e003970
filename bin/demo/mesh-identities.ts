// Identities for the processes of a mesh on one machine, from a development server in this process: each has a SPIFFE
// ID of its own, and whoever asks about a node has one beside the manager's socket.

import { join } from 'node:path';
import type { Log } from '../../protocols/ports/log.ts';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import {
  createIdentityServer,
  endpointVariable,
  type IdentityServer,
} from '../../transports/spiffe-ts/spiffe.ts';
import { commonVariables } from '../config/common.ts';
import { identityDirVariable, identityFolder, socketIn } from '../roles/part-identities.ts';

export interface MeshIdentities {
  /** Variables by which a process gets its identity, or its children theirs. Idempotent. */
  of(role: string, name: string): Promise<Readonly<Record<string, string>>>;
  /** SPIFFE ID of a process, or of a part of a node; undefined: there are none. */
  idOf(role: string, name: string, part: string): string | undefined;
  /** Ends all sockets; the next `of` opens them again. */
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
  const clocks = { clock: systemClock, wallClock: systemWallClock };
  /** SPIFFE IDs by the URL of their socket. */
  const idOf = new Map<string, string>();
  const serving = new Map<string, Promise<unknown>>();
  let server: IdentityServer | undefined;
  /** The authority of the last one: whoever outlived it trusts the next one too. */
  let saved: { readonly saved: ReturnType<IdentityServer['save']> } | undefined;

  const serve = async (directory: string, part: string, path: string): Promise<string> => {
    const url = socketIn(directory, part);
    idOf.set(url, `spiffe://${trustDomain}/${path}`);
    // After an end, workloads that outlived it are served again as well.
    const current = (server ??= createIdentityServer({ ...options, ...clocks, ...saved }));
    for (const [each, id] of idOf) {
      if (!serving.has(each)) serving.set(each, current.serve(each, [id]));
    }
    await Promise.all(serving.values());
    return url;
  };
  return {
    async of(role, name) {
      const directory = join(stateDir, name, identityFolder);
      // Each node asks the other's manager to drain; people ask any of them.
      const operators = ['node-*', 'operator-*'].map((path) => `spiffe://${trustDomain}/${path}`);
      const operating = { [commonVariables.operators.name]: operators.join(',') };
      if (role !== 'node') {
        return { ...operating, [endpointVariable]: await serve(directory, 'own', name) };
      }
      for (const part of partsOfNode) await serve(directory, part, `${name}/${part}`);
      return { ...operating, [identityDirVariable]: directory };
    },
    idOf: (role, name, part) =>
      `spiffe://${trustDomain}/${role === 'node' ? `${name}/${part}` : name}`,
    async close() {
      const ended = server;
      server = undefined;
      saved = ended && { saved: ended.save() };
      serving.clear();
      await ended?.close();
    },
  };
}

export const withoutIdentities: MeshIdentities = {
  of: () => Promise.resolve({ VWIRE_INSECURE: 'true' }),
  idOf: () => undefined,
  close: () => Promise.resolve(),
};
