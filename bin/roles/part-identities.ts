// What gives the parts of `vwire up` and `vwire node` their identities: a Workload API that was named (SPIRE), a
// development identity server that runs already, or one of their own, started first and ended last. Each part has a
// SPIFFE ID of its own where the server is ours.

import { join } from 'node:path';
import type { Log } from '../../protocols/ports/log.ts';
import { endpointVariable } from '../../transports/spiffe-ts/spiffe.ts';
import { commonVariables } from '../config/common.ts';
import { identityVariables } from '../config/roles/identity.ts';
import type { Phase } from '../phases.ts';
import { launch } from './launch.ts';
import { childGraceMs } from './stop-times.ts';
import { superviseChild } from './supervise-child.ts';

type Variables = Readonly<Record<string, string>>;

export interface PartIdentities {
  /** Variables by which a part gets its identity. `part`: `registry`, `nsmgr` and so on. */
  of(part: string): Variables;
  /** For a child that hands them on to parts of its own. */
  readonly handedOn: Variables;
  /** Starts a server of our own, where one is needed. */
  readonly phases: readonly Phase[];
  /** Of a development identity server, where each part has an id of its own. */
  readonly isOwn: boolean;
  /** For people. */
  readonly text: string;
}

/** Where a development identity server has its sockets. */
export const identityDirVariable = 'VWIRE_IDENTITY_DIR';
export const identityFolder = 'identity';

export const socketIn = (directory: string, part: string): string =>
  `unix://${join(directory, `${part}.sock`)}`;

const readyTimeoutMs = 20_000;

export function partIdentities(options: {
  readonly insecure: boolean;
  readonly stateDir: string;
  readonly log: Log;
  readonly environment?: NodeJS.ProcessEnv;
  readonly onStarted?: (pid: number, restarts: number) => void;
}): PartIdentities {
  const { insecure, stateDir, environment = process.env } = options;
  if (insecure)
    return sameForAll({ VWIRE_INSECURE: 'true' }, 'none: plaintext, nobody proves who they are');
  const named = environment[endpointVariable];
  if (named !== undefined) return sameForAll({ [endpointVariable]: named }, named);
  const running = environment[identityDirVariable];
  const directory = running ?? join(stateDir, identityFolder);
  const operators = operatorsOf(environment);
  return {
    of: (part) => ({ [endpointVariable]: socketIn(directory, part), ...operators }),
    handedOn: { [identityDirVariable]: directory, ...operators },
    phases: running === undefined ? [ownServer(directory, options)] : [],
    isOwn: true,
    text: `FOR DEVELOPMENT ONLY, sockets in ${directory}`,
  };
}

/** Whoever asks with a command, unless somebody else was named. */
function operatorsOf(environment: NodeJS.ProcessEnv): Variables {
  const { trustDomain } = identityVariables;
  const domain = environment[trustDomain.name] ?? trustDomain.byDefault;
  const named = environment[commonVariables.operators.name];
  return { [commonVariables.operators.name]: named ?? `spiffe://${domain}/operator` };
}

function sameForAll(variables: Variables, text: string): PartIdentities {
  return { of: () => variables, handedOn: variables, phases: [], isOwn: false, text };
}

function ownServer(
  directory: string,
  {
    stateDir,
    log,
    environment = process.env,
    onStarted = () => {},
  }: Parameters<typeof partIdentities>[0],
): Phase {
  const name = 'identity';
  const own = Object.entries(environment).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && /^(VWIRE_IDENTITY_|NSM_LOG_LEVEL$)/.test(entry[0]),
  );
  return {
    name: 'start the development identity server',
    check: `read ${join(stateDir, `${name}.log`)}; with SPIRE, set ${endpointVariable}`,
    start: async () => {
      const child = await superviseChild({
        name,
        start: () =>
          launch({
            role: [name],
            name,
            stateDir,
            env: { ...Object.fromEntries(own), [identityDirVariable]: directory },
          }),
        readyTimeoutMs,
        log,
        onStarted,
      });
      log.warn('identities are for development only: no SPIRE agent was named', { directory });
      return () => child.stop(childGraceMs);
    },
  };
}
