// Configuration of the registry, with the names and defaults of the reference's registry-memory.

import {
  registryClientPolicies,
  commonVariables,
  maxTokenLifetime,
  registryServerPolicies,
} from '../common.ts';
import { duration, url, urls } from '../kinds.ts';
import { type ConfigOf, variable } from '../variables.ts';

export const registryVariables = {
  listenOn: variable('NSM_LISTEN_ON', urls, 'unix:///listen.on.socket', 'where it serves'),
  maxTokenLifetimeMs: maxTokenLifetime,
  registryServerPolicies,
  registryClientPolicies,
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
