// `vwire node`: one node of the mesh. Supervises the manager and the forwarder as children: the manager needs no
// privilege, the forwarder is the only one that programs the kernel. A child that ends is started again with
// back-off; its wires stay meanwhile.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../../protocols/ports/log.ts';
import type { Child } from '../../transports/process/child.ts';
import { loadCommonConfig, namesForBoth, namesForForwarder } from '../config/load.ts';
import { launch } from './launch.ts';
import { nodeRoles, registryUrlDefault } from './node-roles.ts';
import { privilegeWarning } from './privileges.ts';
import { partIdentities } from './part-identities.ts';
import { nodeNameOf, runRoleProcess, stateDirOf } from './role-process.ts';
import { childGraceMs, nodeStopMs } from './stop-times.ts';
import { superviseChild } from './supervise-child.ts';

const readyTimeoutMs = 20_000;

function passedOn(environment: NodeJS.ProcessEnv, names: readonly string[]) {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && names.includes(name)) passed[name] = value;
  }
  return passed;
}

/** For both children: vwire's own variables, and those of the reference that both read. */
function shared(environment: NodeJS.ProcessEnv): Record<string, string> {
  const own = Object.keys(environment).filter((name) => name.startsWith('VWIRE_'));
  return passedOn(environment, [...own, ...namesForBoth, 'CLUSTER_NAME']);
}

type Variables = Readonly<Record<string, string>>;

function withoutBus(environment: NodeJS.ProcessEnv) {
  const { NSM_TUNNEL_IP: address = '', NSM_REGISTRY_URL: registryUrl = registryUrlDefault } =
    environment;
  return { address, registryUrl };
}

export async function run(): Promise<number> {
  const config = loadCommonConfig(process.env);
  const node = nodeNameOf(config);
  const stateDir = stateDirOf(config);
  mkdirSync(stateDir, { recursive: true, mode: 0o755 });
  const { urls, nsmgr, forwarder } = nodeRoles({
    node,
    domain: config.domain,
    stateDir,
    ...(config.bus === 'grpc' ? { withoutBus: withoutBus(process.env) } : {}),
  });
  const forBoth = shared(process.env);
  const startManager = (identity: Variables): Child =>
    launch({
      role: ['nsmgr'],
      name: 'nsmgr',
      stateDir,
      env: { ...forBoth, ...nsmgr, ...identity },
    });
  const startForwarder = (identity: Variables): Child =>
    launch({
      role: ['forwarder'],
      name: 'forwarder',
      stateDir,
      env: { ...passedOn(process.env, namesForForwarder), ...forBoth, ...forwarder, ...identity },
    });
  const phase = (name: string, start: () => Child, log: Log) => ({
    name: `start the ${name}`,
    check: `read ${join(stateDir, `${name}.log`)}`,
    start: async () => {
      const supervised = await superviseChild({
        name,
        start,
        readyTimeoutMs,
        log,
        onStarted: (pid, restarts) =>
          report({
            event: 'child',
            child: name,
            pid,
            restarts,
          }),
      });
      return () => supervised.stop(childGraceMs);
    },
  });
  return runRoleProcess({
    role: 'node',
    name: node,
    config,
    urls: [],
    shutdownTimeoutMs: nodeStopMs,
    phases: (_, log) => {
      const warning = privilegeWarning();
      if (warning !== undefined) log.warn(warning);
      const identities = partIdentities({ insecure: config.insecure, stateDir, log });
      return [
        ...identities.phases,
        phase('nsmgr', () => startManager(identities.of('nsmgr')), log),
        phase('forwarder', () => startForwarder(identities.of('forwarder')), log),
      ];
    },
    readyUrls: () => urls,
  });
}

/** One JSON line per change, for whoever started this node. */
function report(line: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
