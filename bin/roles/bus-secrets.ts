// What a nats-server that this process starts proves itself with: an identity of its own, and files that follow it.

import type { BusDescription } from '../../protocols/messages/bus-rights.ts';
import type { Log } from '../../protocols/ports/log.ts';
import { ServerSecrets } from '../../transports/nats/server-secrets.ts';
import { obtainIdentity } from './own-identity.ts';

export interface BusSecrets {
  readonly secrets: ServerSecrets;
  readonly serverId: string;
  close(): Promise<void>;
}

/** Errors: those of obtainIdentity, INVALID_ARGUMENT (the description). */
export async function obtainBusSecrets(options: {
  /** URL of the Workload API that knows the server. */
  readonly endpoint: string;
  /** Who may do what, once it is known who the server is. */
  readonly describe: (serverId: string) => BusDescription;
  readonly directory: string;
  readonly storeDir?: string;
  readonly log: Log;
}): Promise<BusSecrets> {
  const { endpoint, describe, log, ...files } = options;
  // It signs no token.
  const { identity } = await obtainIdentity({ endpoint, maxTokenLifetimeMs: 0, log });
  try {
    const serverId = (await identity.ready({ timeoutMs: 1_000 })).svid.spiffeId;
    const secrets = new ServerSecrets({ ...files, identity, log, description: describe(serverId) });
    return {
      secrets,
      serverId,
      async close() {
        secrets.close();
        await identity.close();
      },
    };
  } catch (error) {
    await identity.close();
    throw error;
  }
}
