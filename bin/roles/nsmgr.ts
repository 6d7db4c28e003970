// `vwire nsmgr`: the manager of a node, with the reference's variables. Needs no privilege. Told of no registry (the
// variable is set but empty) it has one of its own, in memory.

import { openJournal } from '../../transports/journal/journal.ts';
import { createMemoryRegistryStore } from '../../transports/memory/registry-store.ts';
import { loadNsmgrConfig } from '../config/load.ts';
import { composeNsmgr } from './compose-nsmgr.ts';
import { composeRegistry } from './compose-registry.ts';
import type { Phase } from '../phases.ts';
import { followExcludedPrefixes } from './excluded-prefixes.ts';
import type { Platform } from './platform.ts';
import {
  clientInfoLabels,
  closesAtStop,
  nodeNameOf,
  runRoleProcess,
  stateDirOf,
} from './role-process.ts';
import type { RunningRole } from './running-role.ts';
import { roleStopMs } from './stop-times.ts';

const ownRegistryUrl = 'memory:registry';

export async function run(): Promise<number> {
  const config = loadNsmgrConfig(process.env);
  const { name, listenOn } = config;
  const hasOwnRegistry = config.registryUrl === '';
  const registryUrl = hasOwnRegistry ? ownRegistryUrl : config.registryUrl;
  let role: RunningRole | undefined;
  return runRoleProcess({
    role: 'nsmgr',
    name,
    config,
    urls: [...listenOn, registryUrl],
    phases: (platform, log) => [
      ...(hasOwnRegistry ? [serveOwnRegistry(platform)] : []),
      {
        name: `take up journaled connections and serve on ${listenOn.join(', ')}`,
        check: 'is another manager using this state directory or listening there?',
        start: async () => {
          const { clock } = platform();
          const directory = stateDirOf(config);
          const journal = { directory, name, fsync: 'interval', log, clock } as const;
          const excluded = followExcludedPrefixes(config.excludedPrefixesFile, log);
          const composed = await composeNsmgr(platform(), {
            name,
            listenOn,
            registryUrl,
            forwarderServiceName: config.forwarderNetworkServiceName,
            maxTokenLifetimeMs: config.maxTokenLifetimeMs,
            registryPolicies: config.registryServerPolicies,
            keepsWhileAlive: config.expiry === 'keep-while-alive',
            nodeLabels: clientInfoLabels(config),
            excludedPrefixes: () => excluded.value,
            node: nodeNameOf(config),
            nodeLeaseMs: config.nodeLeaseMs,
            endpointGraceMs: config.endpointGraceMs,
            moveGraceMs: config.moveGraceMs,
            forwarderPolicy: config.forwarderPolicy,
            forwarderGraceMs: config.forwarderGraceMs,
            drainJournal: await openJournal({ ...journal, name: `${name}-drains` }),
            closesAtStop: closesAtStop(),
            journal: await openJournal(journal),
          });
          role = composed;
          return () => {
            excluded.stop();
            return composed.stop(roleStopMs);
          };
        },
      },
    ],
    readyUrls: () => role?.urls ?? [],
  });
}

function serveOwnRegistry(platform: () => Platform): Phase {
  return {
    name: 'serve a registry of its own, in memory',
    check: 'NSM_REGISTRY_URL is set but empty; set it to use a registry that lives elsewhere',
    start: async () => {
      const registry = await composeRegistry(platform(), {
        name: 'registry',
        listenOn: [ownRegistryUrl],
        store: createMemoryRegistryStore(),
      });
      return () => registry.stop(roleStopMs);
    },
  };
}
