// Who may do what on the bus that `vwire up` starts: the parts of its own node, and whoever VWIRE_BUS_FILE names besides.
// Without identities everybody may do everything.

import { join } from 'node:path';
import {
  type BusDescription,
  type BusRole,
  busRoles,
  type BusUser,
} from '../../protocols/messages/bus-rights.ts';
import { parseSpiffeId } from '../../protocols/spiffe/spiffe-id.ts';
import { endpointVariable } from '../../transports/spiffe-ts/spiffe.ts';
import { readBusFile } from '../bus-file.ts';
import { type BusSecrets, obtainBusSecrets } from './bus-secrets.ts';
import type { UpSetup } from './up-setup.ts';

/** By the paths of the SPIFFE IDs that the development identity server gives them. */
const rolesOfPart: Readonly<Record<string, readonly BusRole[]>> = {
  registry: ['registry'],
  nsmgr: ['nsmgr'],
  forwarder: ['forwarder'],
  supplier: ['endpoint'],
  nse: ['endpoint'],
  nsc: ['client'],
};

/** Errors: those of obtainBusSecrets and of the file. */
export async function provenBus(setup: UpSetup, storeDir: string): Promise<BusSecrets | undefined> {
  const { config, identities, stateDir, log } = setup;
  const endpoint = identities.of('bus')[endpointVariable];
  if (config.insecure || endpoint === undefined) return undefined;
  return obtainBusSecrets({
    endpoint,
    describe: (serverId) => describeBus(setup, serverId),
    directory: join(stateDir, 'nats-server'),
    storeDir,
    log,
  });
}

function describeBus({ config, identities, node }: UpSetup, serverId: string): BusDescription {
  const { domain, busFile } = config;
  const own = identities.isOwn
    ? partsIn(`spiffe://${parseSpiffeId(serverId).trustDomain}`, node)
    : // Who the parts are a Workload API of somebody else does not tell; here they are all alike.
      [{ spiffeId: serverId, roles: busRoles.slice() }];
  if (busFile === undefined) return { domain, users: own };
  const { users } = readBusFile(busFile, domain);
  const named = new Set(users.map(({ spiffeId }) => spiffeId));
  return { domain, users: [...own.filter(({ spiffeId }) => !named.has(spiffeId)), ...users] };
}

function partsIn(trustDomain: string, node: string): readonly BusUser[] {
  return Object.entries(rolesOfPart).map(([part, roles]) => ({
    spiffeId: `${trustDomain}/${part}`,
    roles,
    ...(part === 'registry' ? {} : { node }),
  }));
}
