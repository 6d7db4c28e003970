// `vwire registry`: a registry domain with the reference's variables.

import { loadRegistryConfig } from '../config/load.ts';
import { composeRegistry, registryStoreFor } from './compose-registry.ts';
import { runRoleProcess } from './role-process.ts';
import type { RunningRole } from './running-role.ts';
import { roleStopMs } from './stop-times.ts';

export async function run(): Promise<number> {
  const config = loadRegistryConfig(process.env);
  let role: RunningRole | undefined;
  return runRoleProcess({
    role: 'registry',
    name: 'registry',
    config,
    urls: config.listenOn,
    phases: (platform) => [
      {
        name: `serve the registry on ${config.listenOn.join(', ')}`,
        check: 'is another registry listening there? does nats-server run with JetStream?',
        start: async () => {
          const composed = await composeRegistry(platform(), {
            name: config.domain,
            listenOn: config.listenOn,
            policies: config.registryServerPolicies,
            store: registryStoreFor(platform(), config.domain),
          });
          role = composed;
          return () => composed.stop(roleStopMs);
        },
      },
    ],
    readyUrls: () => role?.urls ?? [],
  });
}
