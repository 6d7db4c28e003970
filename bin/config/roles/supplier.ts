// Configuration of the supplier, with the names and defaults of the reference's nse-supplier-k8s where it has them.

import {
  registryClientPolicies,
  commonVariables,
  connectToDefault,
  maxTokenLifetime,
} from '../common.ts';
import { integer, labels, oneOf, text, url } from '../kinds.ts';
import { type ConfigOf, variable } from '../variables.ts';

export const supplierVariables = {
  name: variable('NSM_NAME', text, 'nse-supplier-k8s', 'name of the supplier'),
  connectTo: variable('NSM_CONNECT_TO', url, connectToDefault, 'the manager of its node'),
  maxTokenLifetimeMs: maxTokenLifetime,
  registryClientPolicies,
  serviceName: variable(
    'NSM_SERVICE_NAME',
    text,
    'nse-supplier-k8s',
    'the Network Service whose Endpoints it starts; registered if it is not there yet',
  ),
  payload: variable('NSM_PAYLOAD', oneOf('ETHERNET', 'IP'), 'ETHERNET', 'payload of that service'),
  labels: variable(
    'NSM_LABELS',
    labels,
    '',
    'labels of its registration, for the match that routes to it',
  ),
  template: variable(
    'VWIRE_SUPPLIER_TEMPLATE',
    text,
    'endpoint.yaml',
    'file with the template of the Endpoints that it starts',
  ),
  endpointsMax: variable(
    'VWIRE_SUPPLIER_ENDPOINTS',
    integer(1, 1000),
    '16',
    'Endpoints that it runs at most at a time',
  ),
  netnsDir: variable(
    'VWIRE_SUPPLIER_NETNS_DIR',
    text,
    '/run/netns',
    'directory of the network namespaces that templates name, as of `ip netns`',
  ),
  ...commonVariables,
} as const;

export type SupplierConfig = ConfigOf<typeof supplierVariables>;
