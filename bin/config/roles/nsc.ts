// Configuration of the client, with the reference's names and defaults.

import { commonVariables, connectToDefault, maxTokenLifetime } from '../common.ts';
import {
  awarenessGroups,
  boolean,
  duration,
  durationBetween,
  integer,
  serviceUrls,
  tcpProbe,
  text,
  texts,
  url,
} from '../kinds.ts';
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
    awarenessGroups,
    '',
    'groups [url,url],[url] of requests, as in NSM_NETWORK_SERVICES, whose Endpoints may give the same addresses',
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
    'ping the other end of every wire, and leave an Endpoint that does not answer',
  ),
  livenessCheckIntervalMs: variable(
    'NSM_LIVENESS_CHECK_INTERVAL',
    durationBetween('1ms', '1h'),
    '200ms',
    'pause between two rounds of pings, where VWIRE_LIVENESS_INTERVAL is 0',
  ),
  livenessCheckTimeoutMs: variable(
    'NSM_LIVENESS_CHECK_TIMEOUT',
    durationBetween('1ms', '1h'),
    '1s',
    'a round of four pings without an answer for this long means a dead wire; a new wire has three times as long',
  ),
  livenessIntervalMs: variable(
    'VWIRE_LIVENESS_INTERVAL',
    durationBetween('10ms', '1m', true),
    '50ms',
    'between two pings that go on without an end; 0 for rounds as the reference makes them',
  ),
  livenessMissedMax: variable(
    'VWIRE_LIVENESS_MISSED',
    integer(2, 200),
    '4',
    'so many of those unanswered in a row mean a dead wire',
  ),
  serviceProbePort: variable(
    'VWIRE_SERVICE_PROBE',
    tcpProbe,
    '',
    'tcp:PORT of the Endpoint: an Endpoint whose service has stopped answering there is left',
  ),
  serviceProbeIntervalMs: variable(
    'VWIRE_SERVICE_PROBE_INTERVAL',
    durationBetween('10ms', '1m'),
    '100ms',
    'between two connects to it, half as long after one that failed, and the time of each; three in a row that fail mean a dead service',
  ),
  ...commonVariables,
} as const;

export type NscConfig = ConfigOf<typeof nscVariables>;
