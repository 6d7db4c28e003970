// What the two processes of a node are told of each other, of the registry and of where they serve: the same whether
// `vwire node` supervises them or each is started by itself.

import { join } from 'node:path';

export interface NodePlace {
  readonly node: string;
  readonly domain: string;
  /** Shared by both. */
  readonly stateDir: string;
}

export interface NodeRoles {
  /** Where the manager serves. */
  readonly urls: readonly string[];
  /** Environment of either. */
  readonly nsmgr: Readonly<Record<string, string>>;
  readonly forwarder: Readonly<Record<string, string>>;
}

export function nodeRoles({ node, domain, stateDir }: NodePlace): NodeRoles {
  const managerUrl = `nats://${domain}/${node}/nsmgr`;
  const urls = [`unix://${join(stateDir, 'nsm.io.sock')}`, managerUrl];
  const named = { VWIRE_NODE: node, NODE_NAME: node };
  return {
    urls,
    nsmgr: {
      ...named,
      NSM_NAME: `nsmgr-${node}`,
      NSM_LISTEN_ON: urls.join(','),
      NSM_REGISTRY_URL: `nats://${domain}/registry/registry`,
    },
    forwarder: {
      ...named,
      NSM_NAME: `forwarder-${node}`,
      NSM_LISTEN_ON: `nats://${domain}/${node}/forwarder`,
      NSM_CONNECT_TO: managerUrl,
    },
  };
}
