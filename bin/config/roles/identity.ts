// Configuration of the development identity server. The reference has no counterpart: it expects SPIRE.

import { commonVariables } from '../common.ts';
import { duration, labels, oneOf, text, texts } from '../kinds.ts';
import { type ConfigOf, optionalVariable, variable } from '../variables.ts';

export const identityVariables = {
  trustDomain: variable(
    'VWIRE_IDENTITY_TRUST_DOMAIN',
    text,
    'vwire.local',
    'trust domain that it is the authority of',
  ),
  directory: optionalVariable(
    'VWIRE_IDENTITY_DIR',
    text,
    'directory of sockets, CA and bundle.json; identity/ in the state directory where it is absent',
  ),
  workloads: variable(
    'VWIRE_IDENTITY_WORKLOADS',
    texts,
    'bus,registry,nsmgr,forwarder,supplier,nse,nsc,operator',
    'paths of SPIFFE IDs, each served to whoever may open its own socket: nsmgr is /nsmgr on nsmgr.sock',
  ),
  users: variable(
    'VWIRE_IDENTITY_USERS',
    labels,
    '',
    'paths of SPIFFE IDs by user id (1000:alice), served on users.sock to whom the kernel says it is',
  ),
  federatesWith: variable(
    'VWIRE_IDENTITY_FEDERATES_WITH',
    labels,
    '',
    'bundle.json of other trust domains by their name (other.local:/path/bundle.json), read every second',
  ),
  svidLifetimeMs: variable(
    'VWIRE_IDENTITY_SVID_LIFETIME',
    duration,
    '1h',
    'lifetime of X.509-SVIDs, at least 2s; they are renewed at half of it',
  ),
  caKey: variable(
    'VWIRE_IDENTITY_CA_KEY',
    oneOf('ec-p256', 'ec-p384', 'rsa-2048'),
    'ec-p256',
    'kind of the CA key; workloads always get ec-p256',
  ),
  ...commonVariables,
} as const;

export type IdentityConfig = ConfigOf<typeof identityVariables>;
