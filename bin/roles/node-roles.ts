// What the two processes of a node are told of each other, of the registry and of where they serve: the same whether
// `vwire node` supervises them or each is started by itself.

import { join } from 'node:path';

export interface NodePlace {
  readonly node: string;
  readonly domain: string;
  /** Shared by both. */
  readonly stateDir: string;
  /** Without a bus the two meet on unix sockets; other nodes and the registry are reached by TCP. */
  readonly withoutBus?: {
    /** Address of this node for others; empty: the first that the machine has. */
    readonly address: string;
    readonly registryUrl: string;
  };
}

export interface NodeRoles {
  /** Where the manager serves. */
  readonly urls: readonly string[];
  /** Environment of either. */
  readonly nsmgr: Readonly<Record<string, string>>;
  readonly forwarder: Readonly<Record<string, string>>;
}

/** Of the reference's managers and registries. */
const managerPort = 5001;
export const registryUrlDefault = 'tcp://127.0.0.1:5002';

export function nodeRoles({ node, domain, stateDir, withoutBus }: NodePlace): NodeRoles {
  const socketUrl = `unix://${join(stateDir, 'nsm.io.sock')}`;
  const bus = `nats://${domain}`;
  const managerUrl =
    withoutBus === undefined
      ? `${bus}/${node}/nsmgr`
      : `tcp://${withoutBus.address}:${managerPort}`;
  const urls = [socketUrl, managerUrl];
  const named = { VWIRE_NODE: node, NODE_NAME: node };
  return {
    urls,
    nsmgr: {
      ...named,
      NSM_NAME: `nsmgr-${node}`,
      NSM_LISTEN_ON: urls.join(','),
      NSM_REGISTRY_URL: withoutBus?.registryUrl ?? `${bus}/registry/registry`,
    },
    forwarder: {
      ...named,
      NSM_NAME: `forwarder-${node}`,
      NSM_LISTEN_ON:
        withoutBus === undefined
          ? `${bus}/${node}/forwarder`
          : `unix://${join(stateDir, 'forwarder.sock')}`,
      NSM_CONNECT_TO: withoutBus === undefined ? managerUrl : socketUrl,
    },
  };
}
