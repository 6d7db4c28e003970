// Configuration of the registry, with the names and defaults of the reference's registry-memory.

import { clientPolicies, commonVariables, maxTokenLifetime, serverPolicies } from '../common.ts';
import { duration, registryPolicies, url, urls } from '../kinds.ts';
import { type ConfigOf, variable } from '../variables.ts';

export const registryVariables = {
  listenOn: variable('NSM_LISTEN_ON', urls, 'unix:///listen.on.socket', 'where it serves'),
  maxTokenLifetimeMs: maxTokenLifetime,
  registryServerPolicies: variable(
    'NSM_REGISTRY_SERVER_POLICIES',
    registryPolicies,
    serverPolicies,
    'rules of the reference that registry calls must hold to; empty: none of them',
  ),
  registryClientPolicies: variable(
    'NSM_REGISTRY_CLIENT_POLICIES',
    registryPolicies,
    clientPolicies,
    'read, and refused where it names no rule; answers of a registry are not judged',
  ),
  proxyRegistryUrl: variable(
    'NSM_PROXY_REGISTRY_URL',
    url,
    '',
    'registry proxy for names of other domains; empty: none',
  ),
  expirePeriodMs: variable(
    'NSM_EXPIRE_PERIOD',
    duration,
    '1s',
    'declared by the reference, whose code uses one minute instead; accepted without effect',
  ),
  ...commonVariables,
} as const;

export type RegistryConfig = ConfigOf<typeof registryVariables>;
