// How each position of a chain is started: by the variables that the reference has for it, the same for its binary and
// for ours, and by what only one of the two needs.

import { join } from 'node:path';
import { type Position, roleOf } from './positions.ts';

export const networkService = 'interop';
export const interfaceName = 'nsm-1';
export const clientName = 'nsc-1';
/** What the first client gets of the prefix, and the Endpoint's end of the same wire. */
export const endpointAddress = '172.16.1.0';
/**
 * Short, so that a test sees refreshes; every other token lives for the reference's ten minutes. The reference's manager
 * closes what is not refreshed 15 s before the token ends, so the other 25 s are what a neighbour has to start again.
 */
const clientTokenLifetime = { withGo: '40s', ofOursAlone: '20s' };
/** Of the reference's forwarder, whose own 50 ms a handshake between nodes may take on a busy machine. */
const goDialTimeout = '2s';

type Variables = Readonly<Record<string, string>>;

/** Who is reached over NATS: the registry by the manager, the forwarder and the manager by each other. */
export type OnBus = ReadonlySet<'registry' | 'forwarder'>;

/** Addresses of the nodes; the second is the Endpoint's. */
export type NodeAddresses = readonly [string, string];

/** All on one. */
export const oneNode: NodeAddresses = ['127.0.0.1', '127.0.0.1'];
export const twoNodes: NodeAddresses = ['172.31.255.1', '172.31.255.2'];

/** What the settings of all positions of a chain have in common. */
export interface ChainLayout {
  /** Of sockets and files. */
  readonly folder: string;
  readonly onBus: OnBus;
  readonly nodes: NodeAddresses;
  /** Without a program of the reference. */
  readonly isOfOursAlone: boolean;
}

export const isOverTwo = ({ nodes: [near, far] }: Pick<ChainLayout, 'nodes'>): boolean =>
  near !== far;

export const managerUrl = (folder: string): string => unixUrl(folder, 'nsm.io');

export const identityUrl = (folder: string, position: Position): string =>
  unixUrl(join(folder, 'identity'), position);

/** Of registry, manager and forwarder, beside whatever else they listen on. */
export const ownSockets = (folder: string): readonly string[] => [
  unixUrl(folder, 'registry'),
  managerUrl(folder),
  unixUrl(folder, 'forwarder'),
];

/** Where the Endpoint puts its socket: a folder that nobody else sees. */
export const endpointFolder = '/mnt';

const unixUrl = (folder: string, name: string): string => `unix://${join(folder, `${name}.sock`)}`;

/** Names and meanings are the reference's own. */
export function commonSettings(layout: ChainLayout, position: Position): Variables {
  return {
    ...settingsOf(layout)[position],
    SPIFFE_ENDPOINT_SOCKET: identityUrl(layout.folder, position),
  };
}

function settingsOf(layout: ChainLayout): Readonly<Record<Position, Variables>> {
  const { folder, onBus, nodes, isOfOursAlone } = layout;
  const [near, far] = nodes;
  const manager = managerUrl(folder);
  const farManager = isOverTwo(layout) ? unixUrl(folder, 'far-nsm.io') : manager;
  const registryUrl = onBus.has('registry')
    ? 'nats://interop/registry/registry'
    : `tcp://${near}:5002`;
  const forwarderMeets = onBus.has('forwarder')
    ? { manager: 'nats://interop/node/nsmgr', listenOn: 'nats://interop/node/forwarder' }
    : { manager, listenOn: unixUrl(folder, 'forwarder') };
  const managerListens = [...new Set([manager, forwarderMeets.manager, `tcp://${near}:5001`])];
  return {
    registry: { NSM_LISTEN_ON: `${registryUrl},${unixUrl(folder, 'registry')}` },
    nsmgr: {
      NSM_NAME: 'nsmgr-1',
      NSM_LISTEN_ON: managerListens.join(','),
      NSM_REGISTRY_URL: registryUrl,
    },
    forwarder: {
      NSM_NAME: 'forwarder-1',
      NSM_CONNECT_TO: forwarderMeets.manager,
      NSM_LISTEN_ON: forwarderMeets.listenOn,
      NSM_TUNNEL_IP: near,
    },
    'far-nsmgr': {
      NSM_NAME: 'nsmgr-2',
      NSM_LISTEN_ON: `${farManager},tcp://${far}:5001`,
      NSM_REGISTRY_URL: registryUrl,
    },
    'far-forwarder': {
      NSM_NAME: 'forwarder-2',
      NSM_CONNECT_TO: farManager,
      NSM_LISTEN_ON: unixUrl(folder, 'far-forwarder'),
      NSM_TUNNEL_IP: far,
    },
    nse: {
      NSM_NAME: 'nse-1',
      NSM_CONNECT_TO: farManager,
      NSM_BASE_DIR: endpointFolder,
      NSM_SERVICE_NAMES: networkService,
      NSM_CIDR_PREFIX: `${endpointAddress}/24`,
      NSM_UNREGISTER_ITSELF: 'true',
    },
    nsc: {
      NSM_NAME: clientName,
      NSM_CONNECT_TO: manager,
      NSM_NETWORK_SERVICES: `kernel://${networkService}/${interfaceName}`,
      NSM_MAX_TOKEN_LIFETIME: clientTokenLifetime[isOfOursAlone ? 'ofOursAlone' : 'withGo'],
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
  ...(roleOf(position) === 'forwarder' ? { NSM_DIAL_TIMEOUT: goDialTimeout } : {}),
});
