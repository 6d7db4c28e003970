// Variables that every role knows: the reference's common ones and vwire's own. Defaults of `NSM_*` are those of the
// reference.

import {
  boolean,
  duration,
  logLevel,
  oneOf,
  registryPolicies,
  text,
  texts,
  natsServerUrl,
} from './kinds.ts';
import { optionalVariable, variable } from './variables.ts';

export const connectToDefault = 'unix:///var/lib/networkservicemesh/nsm.io.sock';

// The defaults are where the reference's images keep their authorization policies.
export const registryServerPolicies = variable(
  'NSM_REGISTRY_SERVER_POLICIES',
  registryPolicies,
  'etc/nsm/opa/common/.*.rego,etc/nsm/opa/registry/.*.rego,etc/nsm/opa/server/.*.rego',
  'rules of the reference that registry calls must hold to; empty: none of them',
);
export const registryClientPolicies = variable(
  'NSM_REGISTRY_CLIENT_POLICIES',
  registryPolicies,
  'etc/nsm/opa/common/.*.rego,etc/nsm/opa/registry/.*.rego,etc/nsm/opa/client/.*.rego',
  'read, and refused where it names no rule; answers of a registry are not judged',
);

export const maxTokenLifetime = variable(
  'NSM_MAX_TOKEN_LIFETIME',
  duration,
  '10m',
  'lifetime of the tokens that this role issues; connections and registrations expire with them',
);

export const expiry = variable(
  'VWIRE_EXPIRY',
  oneOf('close', 'keep-while-alive'),
  'close',
  'what becomes of a connection that nobody has refreshed when it expires: closed, or kept for another period while its wire is alive',
);

export const commonVariables = {
  logLevel: variable(
    'NSM_LOG_LEVEL',
    logLevel,
    'INFO',
    'SIGUSR1 raises it to trace, SIGUSR2 restores it',
  ),
  openTelemetryEndpoint: variable(
    'NSM_OPEN_TELEMETRY_ENDPOINT',
    text,
    'otel-collector.observability.svc.cluster.local:4317',
    'collector of traces and metrics; read only where TELEMETRY is true',
  ),
  metricsExportIntervalMs: variable(
    'NSM_METRICS_EXPORT_INTERVAL',
    duration,
    '10s',
    'pause between two exports of metrics',
  ),
  pprofEnabled: variable(
    'NSM_PPROF_ENABLED',
    boolean,
    'false',
    'accepted for the sake of existing manifests; there is no Go profile to serve',
  ),
  pprofListenOn: variable('NSM_PPROF_LISTEN_ON', text, 'localhost:6060', 'see NSM_PPROF_ENABLED'),
  telemetry: variable('TELEMETRY', boolean, 'false', 'export traces and metrics'),
  nodeName: optionalVariable('NODE_NAME', text, 'becomes the label nodeName where that is absent'),
  podName: optionalVariable('POD_NAME', text, 'becomes the label podName where that is absent'),
  clusterName: optionalVariable(
    'CLUSTER_NAME',
    text,
    'becomes the label clusterName where that is absent',
  ),
  stateDir: optionalVariable(
    'VWIRE_STATE_DIR',
    text,
    'directory of the journal, sockets and logs; the role chooses one where it is absent',
  ),
  installation: variable(
    'VWIRE_INSTALLATION',
    text,
    'default',
    'id of this installation; tells its kernel objects from those of others on the machine',
  ),
  domain: variable('VWIRE_DOMAIN', text, 'local', 'name of the domain in the subjects of the bus'),
  node: optionalVariable('VWIRE_NODE', text, 'name of the node; the host name where it is absent'),
  natsUrl: variable(
    'VWIRE_NATS_URL',
    natsServerUrl,
    'nats://127.0.0.1:4222',
    'where the bus is reached',
  ),
  natsId: optionalVariable(
    'VWIRE_NATS_ID',
    text,
    'SPIFFE ID that nats-server has to prove; any of a trust domain that is known where it is absent',
  ),
  busFile: optionalVariable(
    'VWIRE_BUS_FILE',
    text,
    'YAML document of who may do what on the bus that vwire up starts; see vwire nats-config',
  ),
  bus: variable(
    'VWIRE_BUS',
    oneOf('nats', 'grpc', 'memory'),
    'nats',
    'what carries calls between processes; memory serves a single process',
  ),
  insecure: variable(
    'VWIRE_INSECURE',
    boolean,
    'false',
    'allow gRPC without TLS, for loopback and tests only; start-up says so',
  ),
  policyFile: optionalVariable(
    'VWIRE_POLICY_FILE',
    text,
    'YAML document of what may use what, followed while the role runs; see docs/guides/policy.md',
  ),
  policyWasm: optionalVariable(
    'VWIRE_POLICY_WASM',
    text,
    'policy of your own in WebAssembly, made by opa build: a module or a bundle, followed while the role runs; see docs/guides/policy.md',
  ),
  auditLog: optionalVariable(
    'VWIRE_AUDIT_LOG',
    text,
    'file that every grant and denial is written to, one JSON line each; the log where it is absent',
  ),
  operators: variable(
    'VWIRE_OPERATORS',
    texts,
    '',
    'SPIFFE IDs, or beginnings with * at the end, that may drain and watch the connections of others',
  ),
} as const;
