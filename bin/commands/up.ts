// `vwire up`: a whole mesh on this machine until Ctrl-C, with a bus of its own that is a plain child of this process.
// What it leaves is its state directory, and nothing in the kernel.

import { describeError } from '../../protocols/errors.ts';
import {
  type CommonConfig,
  configWarnings,
  loadCommonConfig,
  loadForwarderConfig,
  loadNsmgrConfig,
} from '../config/load.ts';
import { managerSocketName, stateDirectory } from '../inspect/where.ts';
import { createPaint } from '../output/colours.ts';
import { runRole } from '../phases.ts';
import { memoryPhases } from '../roles/up-memory.ts';
import { passedOn, processPhases } from '../roles/up-processes.ts';
import { requireRights } from '../roles/up-rights.ts';
import { claimStateDirectory, installationOf, openUpLog, type UpSetup } from '../roles/up-setup.ts';
import { partIdentities } from '../roles/part-identities.ts';
import { privilegeWarning } from '../roles/privileges.ts';
import { insecureWarning, nodeNameOf, stateDirOf } from '../roles/role-process.ts';
import { upStopMs } from '../roles/stop-times.ts';
import { parseArguments } from './arguments.ts';
import { ownCommand, shellQuoted } from './own-command.ts';

const partWidth = 'forwarder'.length;

export async function run(args: readonly string[]): Promise<number> {
  const { options } = parseArguments('up', args);
  const fromEnvironment = loadCommonConfig(process.env);
  const insecure = options['insecure'] === true || fromEnvironment.insecure;
  const config = { ...fromEnvironment, insecure };
  checkPassedOn();
  const stateDir = stateDirectory(options);
  const bus = options['bus'] ?? (config.bus === 'memory' ? 'memory' : 'nats');
  requireRights(`${ownCommand()} up${args.map((each) => ` ${shellQuoted(each)}`).join('')}`);
  const socketUrl = `unix://${stateDir}/${managerSocketName}`;
  const release = claimStateDirectory(stateDir, socketUrl);
  const paint = createPaint(process.stdout, process.env);
  const upLog = openUpLog(stateDir, config.logLevel, tellError);
  const say = (part: string, text: string): void =>
    void process.stdout.write(`  ${paint('bold', part.padEnd(partWidth))}  ${text}\n`);
  const identities = partIdentities({ insecure, stateDir, log: upLog.log });
  const setup: UpSetup = {
    config,
    identities,
    stateDir,
    node: nodeNameOf(config),
    installation: installationOf(config, stateDir),
    socketUrl,
    log: upLog.log,
    say,
  };
  for (const warning of ownWarnings()) process.stderr.write(`vwire: ${warning}\n`);
  if (insecure) process.stderr.write(`vwire: ${insecureWarning}\n`);
  process.stdout.write(`mesh of node ${setup.node}, state in ${stateDir}\n`);
  say('identity', identities.text);
  try {
    return await runRole({
      name: 'up',
      log: setup.log,
      shutdownTimeoutMs: upStopMs,
      phases: [
        ...(bus === 'memory' ? memoryPhases(setup) : processPhases(setup)),
        {
          name: 'say where to connect',
          check: 'standard output must be writable',
          start: () => {
            process.stdout.write(readyText(config, setup));
            return Promise.resolve(() => {
              process.stdout.write('\nstopping: wires, processes and sockets are taken down\n');
              return Promise.resolve();
            });
          },
        },
      ],
    });
  } finally {
    upLog.close();
    release();
  }
}

/** About names that neither `up` nor a role that it runs knows. */
function ownWarnings(): readonly string[] {
  const environment = Object.entries(process.env).filter(
    ([name]) => name.startsWith('VWIRE_') || !passedOn.test(name),
  );
  const warning = privilegeWarning();
  return [
    ...configWarnings('up', Object.fromEntries(environment)),
    ...(warning === undefined ? [] : [warning]),
  ];
}

/** What the roles will read, judged before any of them is started. Errors: ConfigError. */
function checkPassedOn(): void {
  const passed = Object.entries(process.env).filter(([name]) => passedOn.test(name));
  const environment = Object.fromEntries(passed);
  loadNsmgrConfig(environment);
  loadForwarderConfig(environment);
}

function readyText(config: CommonConfig, { socketUrl, stateDir, identities }: UpSetup): string {
  const identity = Object.entries(identities.of('nse')).map(
    ([name, value]) => `${name}=${shellQuoted(value)}`,
  );
  const command = ownCommand();
  const isDefault = stateDir === stateDirOf(config);
  const where = isDefault ? '' : ` --state-dir ${shellQuoted(stateDir)}`;
  return [
    '',
    `Workloads connect to ${socketUrl}${config.insecure ? '; nobody proves an identity there' : ' and prove who they are'}.`,
    'Try from another terminal:',
    `  ${command} status${where}`,
    `  ${command} get nodes${where}`,
    `  ${identity.join(' ')} NSM_CONNECT_TO=${shellQuoted(socketUrl)} ${command} nse icmp-responder   # an Endpoint`,
    'Ctrl-C stops everything; only the state directory stays.',
    '',
  ].join('\n');
}

function tellError(message: string, fields: Readonly<Record<string, unknown>>): void {
  const { error, phase, check, child } = fields;
  const about = [message, phase, child].filter((each) => typeof each === 'string').join(', ');
  const why =
    error === undefined ? '' : `: ${typeof error === 'string' ? error : describeError(error)}`;
  const look = typeof check === 'string' ? ` Check: ${check}` : '';
  process.stderr.write(`vwire: ${about}${why}${look}\n`);
}
