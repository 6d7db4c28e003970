// What the role processes have in common: they read their configuration, stand on a platform, say on standard output
// when they serve, and end when they are told to or when the process that started them is gone.

import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import type { Log } from '../../protocols/ports/log.ts';
import { endWithParentVariable, readyMark } from '../../transports/process/child.ts';
import { changeLevelOnSignals, createProcessLog } from '../../transports/process/pino-log.ts';
import type { CommonConfig } from '../config/load.ts';
import { configWarnings } from '../config/load.ts';
import { type Phase, type PhaseContext, runRole, type StopPhase } from '../phases.ts';
import { createPlatform, natsUrlFor, type Platform } from './platform.ts';
import { platformStopMs, processStopMs } from './stop-times.ts';

export interface RoleProcess {
  /** As on the command line: `nsmgr`, `forwarder` and so on. */
  readonly role: string;
  /** Component name (`NSM_NAME`). */
  readonly name: string;
  readonly config: CommonConfig & { readonly maxTokenLifetimeMs?: number };
  /** Every component URL of the configuration: tells whether the bus is needed, and without any no identity is. */
  readonly urls: readonly string[];
  /** The role's own phases, in order. */
  readonly phases: (platform: () => Platform, log: Log) => readonly Phase[];
  /** What the ready line names. */
  readonly readyUrls?: () => readonly string[];
  /** For the whole shutdown; by default what one role takes. */
  readonly shutdownTimeoutMs?: number;
}

/** Where plaintext was asked for. */
export const insecureWarning =
  'running without TLS: gRPC is plaintext, nobody proves an identity (VWIRE_INSECURE, --insecure)';

export async function runRoleProcess(process_: RoleProcess): Promise<number> {
  const { role, name, config } = process_;
  const processLog = createProcessLog({ level: config.logLevel, fields: { component: name } });
  const { log } = processLog;
  const releaseLevel = changeLevelOnSignals(processLog);
  for (const warning of configWarnings(role, process.env)) log.warn(warning);
  if (config.insecure) {
    log.warn(insecureWarning);
  }
  let platform: Platform | undefined;
  const get = (): Platform => {
    if (platform === undefined) throw new Error('the platform is made by the first phase');
    return platform;
  };
  const natsUrl = natsUrlFor(process_.urls, config.natsUrl);
  const { maxTokenLifetimeMs } = config;
  const isAlone = process_.urls.length === 0;
  const code = await runRole({
    name: role,
    log,
    shutdownTimeoutMs: process_.shutdownTimeoutMs ?? processStopMs,
    phases: [
      {
        name: [
          isAlone || config.insecure ? 'make the platform' : 'obtain an identity',
          ...(natsUrl === undefined ? [] : [`connect to the bus at ${natsUrl}`]),
        ].join(', '),
        check: [
          'does SPIFFE_ENDPOINT_SOCKET name a Workload API that knows this process?',
          'is nats-server running, and is VWIRE_NATS_URL right?',
        ].join(' '),
        start: async () => {
          platform = await createPlatform({
            name,
            log,
            natsUrl,
            natsId: config.natsId,
            insecure: config.insecure || isAlone,
            authorization: config,
            ...(maxTokenLifetimeMs === undefined ? {} : { maxTokenLifetimeMs }),
          });
          const made = platform;
          return () => made.stop(platformStopMs);
        },
      },
      ...process_.phases(get, log),
      {
        name: 'announce readiness',
        check: 'standard output must be writable',
        start: (context) => announce(role, process_.readyUrls?.() ?? [], context),
      },
    ],
  });
  releaseLevel();
  return code;
}

function announce(
  role: string,
  urls: readonly string[],
  context: PhaseContext,
): Promise<StopPhase | undefined> {
  process.stdout.write(`${readyMark}${[role, ...urls].join(' ')}\n`);
  if (process.env[endWithParentVariable] === undefined) return Promise.resolve(undefined);
  process.stdin.on('end', () => context.end()).resume();
  return Promise.resolve(() => {
    process.stdin.destroy();
    return Promise.resolve();
  });
}

export function nodeNameOf(config: CommonConfig): string {
  return config.node ?? config.nodeName ?? hostname();
}

/** Set by `vwire up`: when it ends, the mesh ends with it, wires included. */
export const closeAtStopVariable = 'VWIRE_CLOSE_AT_STOP';

export const closesAtStop = (): boolean => process.env[closeAtStopVariable] === 'true';

/** Where journals, sockets and logs lie: as configured, else the system's place, or the user's own. */
export function stateDirOf(config: CommonConfig): string {
  if (config.stateDir !== undefined) return config.stateDir;
  if (process.getuid?.() === 0) return '/var/lib/vwire';
  return join(process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'vwire');
}

/** The reference's clientinfo labels, for those that are configured. */
export function clientInfoLabels(config: CommonConfig): Readonly<Record<string, string>> {
  const labels: Record<string, string> = {};
  if (config.nodeName !== undefined) labels['nodeName'] = config.nodeName;
  if (config.podName !== undefined) labels['podName'] = config.podName;
  if (config.clusterName !== undefined) labels['clusterName'] = config.clusterName;
  return labels;
}
