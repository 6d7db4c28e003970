// The identity source of a chaos run: a `vwire identity` of its own, which can be killed and started again, in place
// of the server within this very process that demo and tests use. It serves a fixed set of SPIFFE IDs: those of the
// nodes' parts, and a stock from which every other process takes the next.

import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { MeshIdentities } from '../../bin/demo/mesh-identities.ts';
import { commonVariables } from '../../bin/config/common.ts';
import { identityVariables } from '../../bin/config/roles/identity.ts';
import { launch } from '../../bin/roles/launch.ts';
import { identityDirVariable, identityFolder, socketIn } from '../../bin/roles/part-identities.ts';
import { StartedProcesses } from '../../transports/process/process-identity.ts';
import type { Child } from '../../transports/process/child.ts';
import { endpointVariable } from '../../transports/spiffe-ts/spiffe.ts';

const partsOfNode = ['nsmgr', 'forwarder', 'operator'] as const;
/** Registry, Endpoints and clients of all the rounds that a stage sees. */
const stock = 128;
/** Whoever calls from this process has one, so that stock is left for processes. */
const toolPath = 'tool';
const startTimeoutMs = 30_000;

/** A file name may not have the slash of a path: `vwire identity` writes it so. */
const socketName = (path: string): string => path.replaceAll('/', '_');

export class IdentityProcess implements MeshIdentities {
  readonly #trustDomain: string;
  readonly #stateDir: string;
  readonly #directory: string;
  readonly #paths: readonly string[];
  readonly #pathOf = new Map<string, string>();
  #child: Child | undefined;
  /** Every process that was. */
  readonly started = new StartedProcesses();

  constructor(options: {
    readonly trustDomain: string;
    /** Of the mesh. */
    readonly stateDir: string;
    readonly nodes: readonly string[];
  }) {
    this.#trustDomain = options.trustDomain;
    this.#stateDir = join(options.stateDir, 'identity-source');
    this.#directory = join(this.#stateDir, identityFolder);
    this.#paths = [
      toolPath,
      ...options.nodes.flatMap((node) => partsOfNode.map((part) => `${node}/${part}`)),
      ...Array.from({ length: stock }, (_, at) => `workload-${at + 1}`),
    ];
    mkdirSync(this.#directory, { recursive: true });
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Again after its end: the same authority, on the same sockets. */
  async start(): Promise<void> {
    const child = launch({
      role: ['identity'],
      name: 'identity',
      stateDir: this.#stateDir,
      env: {
        [identityVariables.trustDomain.name]: this.#trustDomain,
        [identityVariables.workloads.name]: this.#paths.join(','),
        [identityDirVariable]: this.#directory,
      },
    });
    this.#child = child;
    this.started.add(child.pid);
    await child.ready(startTimeoutMs);
  }

  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.#child?.kill(signal);
    await this.#child?.exited;
  }

  of(role: string, name: string): Promise<Readonly<Record<string, string>>> {
    const idOf = (path: string): string => `spiffe://${this.#trustDomain}/${path}`;
    const operators = [idOf('node-*'), idOf(toolPath)].join(',');
    const operating = { [commonVariables.operators.name]: operators };
    if (role === 'tool') {
      return Promise.resolve({ ...operating, [endpointVariable]: this.#socketOf(toolPath) });
    }
    if (role === 'node') {
      return Promise.resolve({ ...operating, [identityDirVariable]: this.#folderOfNode(name) });
    }
    return Promise.resolve({ ...operating, [endpointVariable]: this.#socketOf(this.#taken(name)) });
  }

  idOf(role: string, name: string, part: string): string {
    const path = role === 'node' ? `${name}/${part}` : this.#taken(name);
    return `spiffe://${this.#trustDomain}/${path}`;
  }

  async close(): Promise<void> {
    await this.#child?.stop(startTimeoutMs);
  }

  #taken(name: string): string {
    const known = this.#pathOf.get(name);
    if (known !== undefined) return known;
    const path = `workload-${this.#pathOf.size + 1}`;
    if (!this.#paths.includes(path)) {
      throw new Error(`identities for the workloads of a stage: expected at most ${stock}`);
    }
    this.#pathOf.set(name, path);
    return path;
  }

  #socketOf(path: string): string {
    return socketIn(this.#directory, socketName(path));
  }

  /** The parts of a node look for their sockets by the names of their roles. */
  #folderOfNode(node: string): string {
    const folder = join(this.#stateDir, '..', node, identityFolder);
    // A node that is started again finds them there.
    if (!existsSync(folder)) {
      mkdirSync(folder, { recursive: true });
      for (const part of partsOfNode) {
        const socket = new URL(this.#socketOf(`${node}/${part}`)).pathname;
        symlinkSync(socket, join(folder, `${part}.sock`));
      }
    }
    return folder;
  }
}
