// Configuration of the icmp-responder Endpoint, with the reference's names and defaults.

import {
  registryClientPolicies,
  commonVariables,
  connectToDefault,
  expiry,
  maxTokenLifetime,
} from '../common.ts';
import {
  boolean,
  cidrGroups,
  dnsConfigs,
  duration,
  labels,
  oneOf,
  text,
  texts,
  url,
} from '../kinds.ts';
import { type ConfigOf, optionalVariable, variable } from '../variables.ts';

export const nseVariables = {
  name: variable('NSM_NAME', text, 'icmp-server', 'name of the Endpoint'),
  baseDir: variable('NSM_BASE_DIR', text, './', 'directory of its socket'),
  connectTo: variable('NSM_CONNECT_TO', url, connectToDefault, 'the manager of its node'),
  maxTokenLifetimeMs: maxTokenLifetime,
  expiry,
  registryClientPolicies,
  ipamPolicy: variable(
    'NSM_IPAM_POLICY',
    oneOf('polite', 'strict'),
    'polite',
    'polite leaves a client the addresses of others that it brings along, strict takes them away',
  ),
  serviceNames: variable(
    'NSM_SERVICE_NAMES',
    texts,
    'icmp-responder',
    'Network Services that it offers',
  ),
  payload: variable('NSM_PAYLOAD', oneOf('ETHERNET', 'IP'), 'ETHERNET', 'payload of the services'),
  labels: variable('NSM_LABELS', labels, '', 'labels of its registration, for every service'),
  dnsConfigs: variable(
    'NSM_DNS_CONFIGS',
    dnsConfigs,
    '[]',
    'name servers and search domains for its clients',
  ),
  cidrPrefixes: variable(
    'NSM_CIDR_PREFIX',
    cidrGroups,
    '169.254.0.0/16',
    'address pools; a client gets one address pair from each group',
  ),
  idleTimeoutMs: variable(
    'NSM_IDLE_TIMEOUT',
    duration,
    '0',
    'ends itself after this time without a client; 0: never',
  ),
  registerService: variable(
    'NSM_REGISTER_SERVICE',
    boolean,
    'true',
    'register the Network Services as well',
  ),
  unregisterItself: variable(
    'NSM_UNREGISTER_ITSELF',
    boolean,
    'false',
    'unregister at the end; else its manager takes the entry out once the process is gone, or its expiry does',
  ),
  pbrConfigPath: variable(
    'NSM_PBR_CONFIG_PATH',
    text,
    '/etc/policy-based-routing/config.yaml',
    'policy routes for its clients, where the file exists',
  ),
  leaseStore: variable(
    'VWIRE_LEASE_STORE',
    oneOf('auto', 'nats', 'none'),
    'auto',
    'where replicas of the same services and prefixes share out their addresses: nats is JetStream KV at VWIRE_NATS_URL; auto is that where the manager is reached over nats; none: all are taken for its own',
  ),
  leaseKeepMs: optionalVariable(
    'VWIRE_LEASE_KEEP',
    duration,
    'time for which a client that is away finds its addresses again; NSM_MAX_TOKEN_LIFETIME where it is absent',
  ),
  ...commonVariables,
} as const;

export type NseConfig = ConfigOf<typeof nseVariables>;
