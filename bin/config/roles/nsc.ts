// Configuration of the client, with the reference's names and defaults.

import { commonVariables, connectToDefault, maxTokenLifetime } from '../common.ts';
import { boolean, duration, serviceUrls, text, texts, url } from '../kinds.ts';
import { type ConfigOf, variable } from '../variables.ts';

export const nscVariables = {
  name: variable('NSM_NAME', text, 'nsc', 'name of the client; connection ids begin with it'),
  connectTo: variable('NSM_CONNECT_TO', url, connectToDefault, 'the manager of its node'),
  dialTimeoutMs: variable('NSM_DIAL_TIMEOUT', duration, '5s', 'time to reach the manager'),
  requestTimeoutMs: variable('NSM_REQUEST_TIMEOUT', duration, '15s', 'time of one Request'),
  maxTokenLifetimeMs: maxTokenLifetime,
  labels: variable(
    'NSM_LABELS',
    texts,
    '',
    'declared by the reference without effect; give labels in NSM_NETWORK_SERVICES',
  ),
  mechanism: variable(
    'NSM_MECHANISM',
    text,
    'kernel',
    'declared by the reference without effect; the scheme in NSM_NETWORK_SERVICES decides',
  ),
  networkServices: variable(
    'NSM_NETWORK_SERVICES',
    serviceUrls,
    '',
    'what to request: kernel://service[@domain]/interface?label=value, separated by commas',
  ),
  awarenessGroups: variable(
    'NSM_AWARENESS_GROUPS',
    text,
    '',
    'groups [url,url],[url] of requests that must not share an Endpoint',
  ),
  localDnsServerEnabled: variable(
    'NSM_LOCAL_DNS_SERVER_ENABLED',
    boolean,
    'true',
    'serve the names of the Endpoints to this workload',
  ),
  localDnsServerAddress: variable(
    'NSM_LOCAL_DNS_SERVER_ADDRESS',
    text,
    '127.0.0.1:53',
    'where that server listens',
  ),
  livenessCheckEnabled: variable(
    'NSM_LIVENESS_CHECK_ENABLED',
    boolean,
    'true',
    'ping the other end of every wire',
  ),
  livenessCheckIntervalMs: variable(
    'NSM_LIVENESS_CHECK_INTERVAL',
    duration,
    '200ms',
    'pause between two pings',
  ),
  livenessCheckTimeoutMs: variable(
    'NSM_LIVENESS_CHECK_TIMEOUT',
    duration,
    '1s',
    'a wire is broken after this long without an answer',
  ),
  ...commonVariables,
} as const;

export type NscConfig = ConfigOf<typeof nscVariables>;
