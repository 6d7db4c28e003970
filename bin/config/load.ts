// The typed configuration of each role, read from an environment. Only bin/ reads the environment.
// Errors: ConfigError naming every wrong variable. Unknown names are no error: `warnings` lists them.

import { commonVariables, expiry } from './common.ts';
import {
  type ForwarderConfig,
  forwarderIgnoredNames,
  forwarderVariables,
} from './roles/forwarder.ts';
import { type IdentityConfig, identityVariables } from './roles/identity.ts';
import { type NscConfig, nscVariables } from './roles/nsc.ts';
import { type NseConfig, nseVariables } from './roles/nse.ts';
import { type NsmgrConfig, nsmgrVariables } from './roles/nsmgr.ts';
import { type RegistryConfig, registryVariables } from './roles/registry.ts';
import { type SupplierConfig, supplierVariables } from './roles/supplier.ts';
import {
  type ConfigOf,
  type Environment,
  readVariables,
  unknownVariables,
  type Variables,
} from './variables.ts';

export type CommonConfig = ConfigOf<typeof commonVariables>;

/** Variables of a role by the role's name on the command line; the order is that of the documentation. */
export const roleVariables: Readonly<Record<string, Variables>> = {
  registry: registryVariables,
  nsmgr: nsmgrVariables,
  forwarder: forwarderVariables,
  nse: nseVariables,
  nsc: nscVariables,
  supplier: supplierVariables,
  identity: identityVariables,
};

/** Meant for one process of a node or of `up` and `demo`, and inherited by all of them. */
const inheritedNames: readonly string[] = [
  'VWIRE_NATS_SERVER',
  'VWIRE_END_WITH_PARENT',
  'VWIRE_CLOSE_AT_STOP',
  'VWIRE_SUPPLIED',
  'VWIRE_EXCLUDED_PREFIXES_FILE',
  expiry.name,
  ...Object.values(identityVariables)
    .map(({ name }) => name)
    .filter((name) => name.startsWith('VWIRE_IDENTITY_')),
];

/** What `vwire node` hands on: to both of its children, and to the forwarder alone. */
export const namesForBoth = [
  'NSM_LOG_LEVEL',
  'NSM_MAX_TOKEN_LIFETIME',
  'NSM_DIAL_TIMEOUT',
] as const;
export const namesForForwarder = [
  'NSM_TUNNEL_IP',
  'NSM_VXLAN_PORT',
  'NSM_LABELS',
  'NSM_MECHANISM_PRIORITY',
  'NSM_BRIDGE_NAME',
  'NSM_L2_RESOURCE_SELECTOR_FILE',
  'NSM_DEVICE_SELECTOR_FILE',
  'NSM_VPP_API_SOCKET',
  'NSM_VPP_INIT',
] as const;
const namesForChildren: readonly string[] = [
  ...namesForBoth,
  ...namesForForwarder,
  'NSM_REGISTRY_URL',
];

export const loadNsmgrConfig = (environment: Environment): NsmgrConfig =>
  readVariables('nsmgr', nsmgrVariables, environment);

export const loadRegistryConfig = (environment: Environment): RegistryConfig =>
  readVariables('registry', registryVariables, environment);

export const loadForwarderConfig = (environment: Environment): ForwarderConfig =>
  readVariables('forwarder', forwarderVariables, environment);

export const loadNseConfig = (environment: Environment): NseConfig =>
  readVariables('nse', nseVariables, environment);

export const loadNscConfig = (environment: Environment): NscConfig =>
  readVariables('nsc', nscVariables, environment);

export const loadSupplierConfig = (environment: Environment): SupplierConfig =>
  readVariables('supplier', supplierVariables, environment);

export const loadIdentityConfig = (environment: Environment): IdentityConfig =>
  readVariables('identity', identityVariables, environment);

/** What roles without variables of their own (`node`, `up`) read. */
export const loadCommonConfig = (environment: Environment): CommonConfig =>
  readVariables('vwire', commonVariables, environment);

/** Warnings about names that the role does not know, to be logged at start-up. */
export function configWarnings(role: string, environment: Environment): readonly string[] {
  const variables = roleVariables[role] ?? commonVariables;
  const known = Object.values(variables).map(({ name }) => name);
  const others: Readonly<Record<string, readonly string[]>> = {
    forwarder: forwarderIgnoredNames,
    node: namesForChildren,
  };
  return unknownVariables(
    role,
    [...known, ...(others[role] ?? []), ...inheritedNames],
    environment,
  );
}
