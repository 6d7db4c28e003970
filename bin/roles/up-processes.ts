// `vwire up` with real processes: a bus of its own, a registry, and a node, each supervised. They run in process groups
// of their own, so that Ctrl-C reaches `up` alone, which ends them in order: the node first, the bus last.

import { spawn, type SpawnOptions } from 'node:child_process';
import { join } from 'node:path';
import type { Phase } from '../phases.ts';
import { commonVariables } from '../config/common.ts';
import { launch } from './launch.ts';
import { withLeastPrivilege } from './privileges.ts';
import { closeAtStopVariable } from './role-process.ts';
import { busGraceMs, childGraceMs, nodeGraceMs } from './stop-times.ts';
import { provenBus } from './up-bus.ts';
import { superviseBus } from './supervise-bus.ts';
import { superviseChild } from './supervise-child.ts';
import type { UpSetup } from './up-setup.ts';

const readyTimeoutMs = 30_000;

/** Variables that are meant for the roles that `up` runs. */
export const passedOn =
  /^VWIRE_|^NSM_(LOG_LEVEL|MAX_TOKEN_LIFETIME|DIAL_TIMEOUT|TUNNEL_IP|VXLAN_PORT|LABELS)$|^CLUSTER_NAME$/;
/** Of those, what a registry does not know. */
const forNodeOnly = /^NSM_(TUNNEL_IP|VXLAN_PORT|LABELS|DIAL_TIMEOUT)$/;

export function processPhases(setup: UpSetup): readonly Phase[] {
  let bus: Variables = {};
  return [
    ...setup.identities.phases,
    busPhase(setup, (variables) => {
      bus = variables;
    }),
    registryPhase(setup, () => bus),
    nodePhase(setup, () => bus),
  ];
}

type Variables = Readonly<Record<string, string>>;

function busPhase(setup: UpSetup, onStarted: (variables: Variables) => void): Phase {
  const { stateDir, log, say } = setup;
  return {
    name: 'start the bus',
    check: 'is nats-server installed? VWIRE_NATS_SERVER names its file; --bus memory does without',
    start: async () => {
      const binary = process.env['VWIRE_NATS_SERVER'] ?? 'nats-server';
      const storeDir = join(stateDir, 'nats');
      const proven = await provenBus(setup, storeDir);
      const how = proven ? { arguments: ['-c', proven.secrets.configFile] } : { storeDir };
      const bus = await superviseBus({ binary, ...how, spawn: withoutRights }, log);
      if (proven !== undefined) proven.secrets.onChange = () => bus.reload();
      onStarted({
        VWIRE_NATS_URL: bus.url,
        ...(proven && { [commonVariables.natsId.name]: proven.serverId }),
      });
      say('bus', `nats-server at ${bus.url}, process ${bus.pid}`);
      return async () => {
        await proven?.close();
        await bus.stop(busGraceMs);
      };
    },
  };
}

function registryPhase(setup: UpSetup, bus: () => Variables): Phase {
  const { config, stateDir, log, say } = setup;
  const url = `nats://${config.domain}/registry/registry`;
  const logFile = join(stateDir, 'registry.log');
  return {
    name: 'start the registry',
    check: `read ${logFile}`,
    start: async () => {
      const child = await superviseChild({
        name: 'registry',
        start: () =>
          launch({
            role: ['registry'],
            name: 'registry',
            stateDir,
            env: {
              ...childEnvironment(setup, bus(), false),
              ...setup.identities.of('registry'),
              NSM_LISTEN_ON: url,
            },
            spawn: inOwnGroup,
          }),
        readyTimeoutMs,
        log,
        onStarted: (pid) => say('registry', `${url}, process ${pid}, log ${logFile}`),
      });
      return () => child.stop(childGraceMs);
    },
  };
}

function nodePhase(setup: UpSetup, bus: () => Variables): Phase {
  const { stateDir, log, node, say } = setup;
  const logFile = join(stateDir, 'node.log');
  return {
    name: 'start the node',
    check: `read ${logFile}, ${join(stateDir, 'nsmgr.log')} and ${join(stateDir, 'forwarder.log')}`,
    timeoutMs: 2 * readyTimeoutMs,
    start: async () => {
      const child = await superviseChild({
        name: 'node',
        start: () =>
          launch({
            role: ['node'],
            name: 'node',
            stateDir,
            env: { ...childEnvironment(setup, bus(), true), ...setup.identities.handedOn },
            spawn: inOwnGroup,
            onLine: (line) => sayChild(setup, line),
          }),
        readyTimeoutMs,
        log,
        onStarted: (pid) => say('node', `${node}, process ${pid}, log ${logFile}`),
      });
      return () => child.stop(nodeGraceMs);
    },
  };
}

function childEnvironment(
  setup: UpSetup,
  bus: Variables,
  isNode: boolean,
): Readonly<Record<string, string>> {
  const passed = Object.entries(process.env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && passedOn.test(entry[0]) && (isNode || !forNodeOnly.test(entry[0])),
  );
  return {
    ...Object.fromEntries(passed),
    VWIRE_STATE_DIR: setup.stateDir,
    ...bus,
    VWIRE_BUS: 'nats',
    VWIRE_NODE: setup.node,
    VWIRE_INSTALLATION: setup.installation,
    [closeAtStopVariable]: 'true',
  };
}

const withoutRights: typeof spawn = ((
  command: string,
  args: readonly string[],
  options: SpawnOptions,
) => {
  const [program, ...rest] = withLeastPrivilege('bus', [command, ...args]);
  return spawn(program, rest, options);
}) as typeof spawn;

const inOwnGroup: typeof spawn = ((command: string, args: readonly string[], options: object) =>
  spawn(command, [...args], { ...options, detached: true })) as typeof spawn;

/** What `vwire node` prints about its children. */
function sayChild({ stateDir, say }: UpSetup, line: string): void {
  try {
    const { child, pid, restarts } = JSON.parse(line) as Record<string, unknown>;
    const again = Number(restarts) > 0 ? `, started again (${String(restarts)})` : '';
    const name = String(child) === 'nsmgr' ? 'manager' : String(child);
    say(name, `process ${String(pid)}${again}, log ${join(stateDir, `${String(child)}.log`)}`);
  } catch {
    // A line of another kind is of no interest here.
  }
}
