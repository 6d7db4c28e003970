// A nats-server with TLS and the rights of a description, for tests, and connections to it by SPIFFE ID.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BusUser } from '../../protocols/messages/bus-rights.ts';
import type { Identity } from '../../protocols/ports/identity.ts';
import { type Log, silentLog } from '../../protocols/ports/log.ts';
import { connectNats, type NatsBus } from '../../transports/nats/nats-bus.ts';
import { type NatsServer, startNatsServer } from '../../transports/nats/nats-server.ts';
import { ServerSecrets } from '../../transports/nats/server-secrets.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import type { TestIdentities } from './identities.ts';

export interface SecuredBus {
  readonly server: NatsServer;
  readonly configFile: string;
  readonly serverId: string;
  describe(users: readonly BusUser[]): Promise<void>;
  connect(identity: Identity, log?: Log): Promise<NatsBus>;
  close(): Promise<void>;
}

export async function startSecuredBus(
  identities: TestIdentities,
  domain: string,
  users: readonly BusUser[],
): Promise<SecuredBus> {
  const folder = mkdtempSync(join(tmpdir(), 'vwire-bus-'));
  const identity = await identities.source('bus');
  const serverId = `spiffe://${identities.server.trustDomain}/bus`;
  const secrets = new ServerSecrets({
    identity,
    description: { domain, users },
    directory: join(folder, 'server'),
    storeDir: join(folder, 'store'),
    log: silentLog,
  });
  const end = (): void => {
    secrets.close();
    rmSync(folder, { recursive: true, force: true });
  };
  const starting = startNatsServer({ arguments: ['-c', secrets.configFile] });
  // Without the program there is no server to close.
  starting.catch(end);
  const server = await starting;
  secrets.onChange = () => server.reload();
  return {
    server,
    configFile: secrets.configFile,
    serverId,
    describe: (changed) => secrets.describe({ domain, users: changed }),
    connect: (as, log = silentLog) =>
      connectNats({
        url: server.url,
        name: 'test',
        clock: systemClock,
        log,
        tls: { identity: as, serverId },
      }),
    async close() {
      await server.stop();
      end();
    },
  };
}
