// `vwire nsmgr`: the manager of a node, with the reference's variables. Needs no privilege.

import { openJournal } from '../../transports/journal/journal.ts';
import { loadNsmgrConfig } from '../config/load.ts';
import { composeNsmgr } from './compose-nsmgr.ts';
import { followExcludedPrefixes } from './excluded-prefixes.ts';
import {
  clientInfoLabels,
  closesAtStop,
  nodeNameOf,
  runRoleProcess,
  stateDirOf,
} from './role-process.ts';
import type { RunningRole } from './running-role.ts';
import { roleStopMs } from './stop-times.ts';

export async function run(): Promise<number> {
  const config = loadNsmgrConfig(process.env);
  const { name, listenOn, registryUrl } = config;
  let role: RunningRole | undefined;
  return runRoleProcess({
    role: 'nsmgr',
    name,
    config,
    urls: [...listenOn, registryUrl],
    phases: (platform, log) => [
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
            nodeLabels: clientInfoLabels(config),
            excludedPrefixes: () => excluded.value,
            node: nodeNameOf(config),
            nodeLeaseMs: config.nodeLeaseMs,
            endpointGraceMs: config.endpointGraceMs,
            moveGraceMs: config.moveGraceMs,
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
