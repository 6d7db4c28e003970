// Configuration of the manager, with the reference's names and defaults (its own spelling `nmgr` included).

import { forwarderPolicies } from '../../../actors/manager/forwarder-order.ts';
import {
  registryClientPolicies,
  commonVariables,
  connectToDefault,
  expiry,
  maxTokenLifetime,
  registryServerPolicies,
} from '../common.ts';
import { duration, durationBetween, oneOf, text, url, urls } from '../kinds.ts';
import { type ConfigOf, variable } from '../variables.ts';

export const nsmgrVariables = {
  name: variable('NSM_NAME', text, 'nmgr', 'name of the manager in paths and in the registry'),
  listenOn: variable(
    'NSM_LISTEN_ON',
    urls,
    connectToDefault,
    'where it serves; the first tcp URL is the public one',
  ),
  registryUrl: variable(
    'NSM_REGISTRY_URL',
    url,
    'tcp://localhost:5001',
    'the registry; set but empty: one of its own, in memory',
  ),
  maxTokenLifetimeMs: maxTokenLifetime,
  expiry,
  registryServerPolicies,
  registryClientPolicies,
  dialTimeoutMs: variable('NSM_DIAL_TIMEOUT', duration, '750ms', 'time to reach the next hop'),
  forwarderNetworkServiceName: variable(
    'NSM_FORWARDER_NETWORK_SERVICE_NAME',
    text,
    'forwarder',
    'Network Service under which forwarders register',
  ),
  forwarderPolicy: variable(
    'VWIRE_FORWARDER_POLICY',
    oneOf(...forwarderPolicies),
    'least-loaded',
    'which of several forwarders is asked first for a new connection: of those that make the mechanism asked for the one with the fewest wires, or, as in the reference, the first that is registered',
  ),
  forwarderGraceMs: variable(
    'VWIRE_FORWARDER_GRACE',
    durationBetween('100ms', '10m'),
    '5s',
    'how long a forwarder may be away before another one of its node takes its wires over',
  ),
  excludedPrefixesFile: variable(
    'VWIRE_EXCLUDED_PREFIXES_FILE',
    text,
    '/var/lib/networkservicemesh/config/excluded_prefixes.yaml',
    'prefixes that no Endpoint may give to this node, followed while the manager runs; the default is the path that the reference has built in',
  ),
  nodeLeaseMs: variable(
    'VWIRE_NODE_LEASE',
    durationBetween('1s', '1m'),
    '5s',
    'a node that has not been heard of for so long counts as away; renewed more than three times in it',
  ),
  endpointGraceMs: variable(
    'VWIRE_ENDPOINT_GRACE',
    durationBetween('100ms', '1m'),
    '2s',
    'how long an Endpoint whose process has ended may take to start again before no client is sent to it any more',
  ),
  moveGraceMs: variable(
    'VWIRE_MOVE_GRACE',
    durationBetween('1s', '10m'),
    '10s',
    'how long a client that is asked to move to another Endpoint may take before its connection is closed under it',
  ),
  ...commonVariables,
} as const;

export type NsmgrConfig = ConfigOf<typeof nsmgrVariables>;
