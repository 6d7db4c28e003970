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
const registryUrl = 'tcp://127.0.0.1:5002';

type Variables = Readonly<Record<string, string>>;

export const managerUrl = (folder: string): string => `unix://${join(folder, 'nsm.io.sock')}`;

export const identityUrl = (folder: string, position: Position): string =>
  `unix://${join(folder, 'identity', `${position}.sock`)}`;

/** Names and meanings are the reference's own. */
export function commonSettings(folder: string, position: Position): Variables {
  return {
    ...settingsOf(folder)[position],
    SPIFFE_ENDPOINT_SOCKET: identityUrl(folder, position),
  };
}

function settingsOf(folder: string): Readonly<Record<Position, Variables>> {
  const manager = managerUrl(folder);
  return {
    registry: { NSM_LISTEN_ON: registryUrl },
    nsmgr: {
      NSM_NAME: 'nsmgr-1',
      NSM_LISTEN_ON: `${manager},tcp://127.0.0.1:5001`,
      NSM_REGISTRY_URL: registryUrl,
    },
    forwarder: {
      NSM_NAME: 'forwarder-1',
      NSM_CONNECT_TO: manager,
      NSM_LISTEN_ON: `unix://${join(folder, 'forwarder.sock')}`,
      NSM_TUNNEL_IP: '127.0.0.1',
    },
    nse: {
      NSM_NAME: 'nse-1',
      NSM_CONNECT_TO: manager,
      NSM_BASE_DIR: folder,
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

export const goSettings = (folder: string): Variables => ({ TMPDIR: folder });
