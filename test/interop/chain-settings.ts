// How each position of a chain is started: by the variables that the reference has for it, the same for its binary and
// for ours, and by what only one of the two needs.

import { join } from 'node:path';
import type { Position } from './positions.ts';

export const networkService = 'interop';
export const interfaceName = 'nsm-1';
export const clientName = 'nsc-1';
/** What the first client gets of the prefix, and the Endpoint's end of the same wire. */
export const endpointAddress = '172.16.1.0';
/** Short, so that a test sees refreshes; every other token lives for the reference's ten minutes. */
const clientTokenLifetime = '20s';

type Variables = Readonly<Record<string, string>>;

/** Who is reached over NATS: the registry by the manager, the forwarder and the manager by each other. */
export type OnBus = ReadonlySet<'registry' | 'forwarder'>;

export const managerUrl = (folder: string): string => `unix://${join(folder, 'nsm.io.sock')}`;

export const identityUrl = (folder: string, position: Position): string =>
  `unix://${join(folder, 'identity', `${position}.sock`)}`;

/** Of registry, manager and forwarder, beside whatever else they listen on. */
export const ownSockets = (folder: string): readonly string[] => [
  `unix://${join(folder, 'registry.sock')}`,
  managerUrl(folder),
  forwarderUrl(folder),
];

/** Where the Endpoint puts its socket: a folder that nobody else sees. */
export const endpointFolder = '/mnt';

const forwarderUrl = (folder: string): string => `unix://${join(folder, 'forwarder.sock')}`;

/** Names and meanings are the reference's own. */
export function commonSettings(folder: string, position: Position, onBus: OnBus): Variables {
  return {
    ...settingsOf(folder, onBus)[position],
    SPIFFE_ENDPOINT_SOCKET: identityUrl(folder, position),
  };
}

function settingsOf(folder: string, onBus: OnBus): Readonly<Record<Position, Variables>> {
  const manager = managerUrl(folder);
  const registryUrl = onBus.has('registry')
    ? 'nats://interop/registry/registry'
    : 'tcp://127.0.0.1:5002';
  const forwarderMeets = onBus.has('forwarder')
    ? { manager: 'nats://interop/node/nsmgr', listenOn: 'nats://interop/node/forwarder' }
    : { manager, listenOn: forwarderUrl(folder) };
  const managerListens = [...new Set([manager, forwarderMeets.manager, 'tcp://127.0.0.1:5001'])];
  return {
    registry: { NSM_LISTEN_ON: `${registryUrl},unix://${join(folder, 'registry.sock')}` },
    nsmgr: {
      NSM_NAME: 'nsmgr-1',
      NSM_LISTEN_ON: managerListens.join(','),
      NSM_REGISTRY_URL: registryUrl,
    },
    forwarder: {
      NSM_NAME: 'forwarder-1',
      NSM_CONNECT_TO: forwarderMeets.manager,
      NSM_LISTEN_ON: forwarderMeets.listenOn,
      NSM_TUNNEL_IP: '127.0.0.1',
    },
    nse: {
      NSM_NAME: 'nse-1',
      NSM_CONNECT_TO: manager,
      NSM_BASE_DIR: endpointFolder,
      NSM_SERVICE_NAMES: networkService,
      NSM_CIDR_PREFIX: `${endpointAddress}/24`,
      NSM_UNREGISTER_ITSELF: 'true',
    },
    nsc: {
      NSM_NAME: clientName,
      NSM_CONNECT_TO: manager,
      NSM_NETWORK_SERVICES: `kernel://${networkService}/${interfaceName}`,
      NSM_MAX_TOKEN_LIFETIME: clientTokenLifetime,
      // The reference's would write the /etc/resolv.conf of this machine.
      NSM_LOCAL_DNS_SERVER_ENABLED: 'false',
    },
  };
}

/** Where the processes put their files: ours in a state directory, Go's where temporary files go. */
export const ownSettings = (folder: string, position: Position): Variables => ({
  VWIRE_STATE_DIR: join(folder, position),
  VWIRE_INSTALLATION: `interop-${process.pid}`,
});

export const goSettings = (folder: string, position: Position): Variables => ({
  TMPDIR: position === 'nse' ? endpointFolder : folder,
});
