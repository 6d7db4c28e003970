// Endpoints as processes of this machine, each in a network namespace: the process supplier. A process outlives its
// supplier; the next life finds it by its journaled id and start time, or by a mark in its environment.
// Invariants: the intent is journaled before anything is made; a namespace is removed only by the supplier that made it,
// and only after its process is gone; a signal goes only to a process whose start time is the recorded one.

import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { EndpointPlan } from '../../protocols/nsm/endpoint-template.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type {
  EndedEndpoint,
  EndpointSupplier,
  SuppliedEndpoint,
} from '../../protocols/ports/endpoint-supplier.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import {
  findByEnvironment,
  identityOf,
  isAlive,
  type ProcessIdentity,
} from './process-identity.ts';
import { decodeRecord, encodeRecord, type SuppliedRecord } from './supplied-record.ts';

/** Network namespaces by name. */
export interface Namespaces {
  exists(name: string): boolean;
  make(name: string): void;
  /** One that is not there is no error. */
  remove(name: string): void;
  spawn(name: string, command: readonly [string, ...string[]], options: SpawnOptions): ChildProcess;
}

export interface ProcessSupplierOptions {
  readonly plan: (connection: Connection) => EndpointPlan;
  /** The command line and the whole environment of a plan. */
  readonly processOf: (
    plan: EndpointPlan,
    connection: Connection,
    directory: string,
  ) => {
    readonly command: readonly [string, ...string[]];
    readonly environment: Readonly<Record<string, string | undefined>>;
  };
  /** Below it a directory per Endpoint, with its log; kept when it ends. */
  readonly directory: string;
  readonly namespaces: Namespaces;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly random: Random;
  readonly bootId: string;
  readonly log: Log;
}

/** In the environment of every process that a supplier starts. */
export const markVariable = 'VWIRE_SUPPLIED';

/** How often processes of an earlier life are looked at; those of this life tell by themselves. */
const lookMs = 500;
const graceMs = 3_000;
const exitLookMs = 25;

/** Takes up what an earlier life started. */
export async function createProcessSupplier(
  options: ProcessSupplierOptions,
): Promise<EndpointSupplier> {
  const supplier = new ProcessSupplier(options);
  await supplier.takeUp();
  return supplier;
}

class ProcessSupplier implements EndpointSupplier {
  readonly #options: ProcessSupplierOptions;
  readonly #records = new Map<string, SuppliedRecord>();
  /** Started in this life: these say how they ended. */
  readonly #children = new Set<string>();
  readonly #listeners = new Set<(ended: EndedEndpoint) => void>();
  /** Ended by themselves, and not removed yet. */
  readonly #ended = new Map<string, EndedEndpoint>();
  #look: Timer | undefined;
  #isClosed = false;

  constructor(options: ProcessSupplierOptions) {
    this.#options = options;
  }

  async takeUp(): Promise<void> {
    const { journal, log } = this.#options;
    for (const [key, bytes] of await journal.load()) {
      try {
        await this.#takeUpOne(decodeRecord(bytes));
      } catch (error) {
        log.error('a supplied endpoint was not taken up', {
          endpoint: key,
          error: describeError(error),
        });
        if (asNsmError(error).code === 'DATA_LOSS') await journal.delete(key);
      }
    }
    this.#armLook();
  }

  nameFor(connection: Connection): string {
    return this.#options.plan(connection).name;
  }

  running(): readonly SuppliedEndpoint[] {
    return [...this.#records.values()].flatMap(({ name, process }) =>
      process === undefined || !isAlive(process) ? [] : [suppliedOf(name, process)],
    );
  }

  async start(connection: Connection, budget: Budget): Promise<SuppliedEndpoint> {
    const { random, bootId, journal, namespaces } = this.#options;
    const plan = this.#options.plan(connection);
    const { name, namespace } = plan;
    const known = this.#records.get(name)?.process;
    if (known !== undefined && isAlive(known)) return suppliedOf(name, known);
    if (this.#records.has(name)) await this.remove(name, budget);
    const ownsNamespace = !namespaces.exists(namespace);
    const intent = { name, mark: random.uuid(), bootId, namespace, ownsNamespace };
    this.#records.set(name, intent);
    await journal.put(name, encodeRecord(intent));
    try {
      if (ownsNamespace) namespaces.make(namespace);
      const process = this.#spawn(plan, connection, intent);
      const record = { ...intent, process };
      this.#records.set(name, record);
      await journal.put(name, encodeRecord(record));
      return suppliedOf(name, process);
    } catch (thrown) {
      await this.remove(name, budget);
      throw thrown;
    }
  }

  async remove(name: string, budget: Budget): Promise<void> {
    const record = this.#records.get(name);
    if (record === undefined) return;
    const process = record.process ?? findByEnvironment(markVariable, record.mark);
    this.#children.delete(name);
    if (process !== undefined) await this.#end(process, budget);
    if (record.ownsNamespace) this.#options.namespaces.remove(record.namespace);
    this.#records.delete(name);
    this.#ended.delete(name);
    await this.#options.journal.delete(name);
  }

  watch(listener: (ended: EndedEndpoint) => void): () => void {
    this.#listeners.add(listener);
    for (const ended of this.#ended.values()) listener(ended);
    return () => void this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#look?.cancel();
    this.#children.clear();
    await this.#options.journal.close();
  }

  async #takeUpOne(record: SuppliedRecord): Promise<void> {
    const { name, mark, bootId } = record;
    const sameBoot = bootId === this.#options.bootId;
    const found = record.process ?? (sameBoot ? findByEnvironment(markVariable, mark) : undefined);
    this.#records.set(name, found === undefined ? record : { ...record, process: found });
    if (sameBoot && found !== undefined && isAlive(found)) {
      this.#options.log.info('endpoint taken up', { endpoint: name, pid: found.pid });
      if (record.process !== undefined) return;
      await this.#options.journal.put(name, encodeRecord({ ...record, process: found }));
      return;
    }
    const { process: _, ...rest } = record;
    // Of another boot: its id and its mark mean nothing now.
    if (!sameBoot) this.#records.set(name, rest);
    this.#tell({ name, how: 'it ended while its supplier was away', isClean: true });
  }

  #spawn(plan: EndpointPlan, connection: Connection, record: SuppliedRecord): ProcessIdentity {
    const { name, namespace } = plan;
    const directory = join(this.#options.directory, name);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const { command, environment } = this.#options.processOf(plan, connection, directory);
    const logFile = openSync(join(directory, 'endpoint.log'), 'a', 0o600);
    let child: ChildProcess;
    try {
      child = this.#options.namespaces.spawn(namespace, command, {
        stdio: ['ignore', logFile, logFile],
        env: { ...environment, [markVariable]: record.mark },
        cwd: directory,
        // A signal to the supplier's terminal or group is not meant for it.
        detached: true,
      });
    } finally {
      closeSync(logFile);
    }
    child.on('error', () => {});
    // One that has ended already is a zombie until this turn of the event loop is over.
    const process = child.pid === undefined ? undefined : identityOf(child.pid);
    if (process === undefined) throw cannotStart(name, command[0]);
    this.#children.add(name);
    child.once('exit', (code, signal) => this.#onExit(name, process, { code, signal }));
    child.unref();
    return process;
  }

  #onExit(
    name: string,
    process: ProcessIdentity,
    exit: { readonly code: number | null; readonly signal: NodeJS.Signals | null },
  ): void {
    const isCurrent = this.#records.get(name)?.process?.startTicks === process.startTicks;
    if (!isCurrent || !this.#children.delete(name)) return;
    const how = exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`;
    this.#tell({ name, how, isClean: exit.code === 0 });
  }

  /** Those of an earlier life are no children of this process, so nobody tells when they end. */
  #armLook(): void {
    if (this.#isClosed) return;
    this.#look = this.#options.clock.after(lookMs, () => {
      for (const { name, process } of this.#records.values()) {
        if (process === undefined || this.#children.has(name) || isAlive(process)) continue;
        this.#tell({ name, how: 'it is gone', isClean: true });
      }
      this.#armLook();
    });
  }

  #tell(ended: EndedEndpoint): void {
    if (this.#ended.has(ended.name)) return;
    this.#ended.set(ended.name, ended);
    for (const listener of this.#listeners) listener(ended);
  }

  /** SIGTERM, then SIGKILL; resolves when it is gone. */
  async #end(process: ProcessIdentity, budget: Budget): Promise<void> {
    const { clock } = this.#options;
    const endMs = clock.nowMs() + Math.min(graceMs, budget.timeoutMs / 2);
    send(process, 'SIGTERM');
    let isForced = false;
    while (isAlive(process)) {
      if (clock.nowMs() >= endMs && !isForced) {
        isForced = true;
        send(process, 'SIGKILL');
      }
      if (clock.nowMs() >= endMs + budget.timeoutMs) throw stays(process);
      await new Promise<void>((resolve) => void clock.after(exitLookMs, resolve));
    }
  }
}

function send(process: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(process)) return;
  try {
    globalThis.process.kill(process.pid, signal);
  } catch (thrown) {
    // Gone between the look and the signal.
    if ((thrown as NodeJS.ErrnoException).code !== 'ESRCH') throw thrown;
  }
}

const suppliedOf = (name: string, { pid }: ProcessIdentity): SuppliedEndpoint => ({
  name,
  what: `process ${pid}`,
});

function cannotStart(name: string, program: string): NsmError {
  return new NsmError('FAILED_PRECONDITION', `the Endpoint ${name} could not be started`, {
    rule: 'template, command',
    expected: 'an executable file',
    found: program,
    remedy: 'mend the command of the template',
  });
}

function stays({ pid }: ProcessIdentity): NsmError {
  return new NsmError('DEADLINE_EXCEEDED', `process ${pid} does not end`, {
    rule: 'SIGKILL',
    remedy: 'look at its state in /proc: a process that waits for a device cannot be ended',
  });
}
