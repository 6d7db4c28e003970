// A client of one database of an OVSDB server (RFC 7047) on a unix socket: transactions, monitors, schema.
// Invariants: requests go out in the order in which they were made; a new connection first asks for the schema and
// the monitors' states, so that what a transaction changes is seen by every monitor; after `close` nothing is left.

import { asNsmError, NsmError } from '../../protocols/errors.ts';
import { createJsonSplitter } from '../../protocols/ovs/json-frames.ts';
import type {
  CallOutcome,
  LinkLimits,
  Session,
  SessionStream,
} from '../../protocols/stream-link/link.ts';
import { defaultLinkLimits, Link } from '../../protocols/stream-link/link.ts';
import { ovsdbRefusal } from '../../protocols/ovs/ovsdb-errors.ts';
import { readTransactResults } from '../../protocols/ovs/ovsdb-messages.ts';
import type { OvsdbSchema } from '../../protocols/ovs/ovsdb-schema.ts';
import { readSchema } from '../../protocols/ovs/ovsdb-schema.ts';
import type { StreamHost } from '../../protocols/ports/byte-stream.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Ovsdb } from '../../protocols/ports/ovs.ts';
import { OvsdbMonitor } from './ovsdb-monitor.ts';
import { OvsdbSession } from './ovsdb-session.ts';
import type { Answer } from './ovsdb-session.ts';

export interface OvsdbClientOptions {
  readonly socketPath: string;
  /** Default `Open_vSwitch`. */
  readonly database?: string;
  readonly limits?: Partial<LinkLimits & OvsdbLimits>;
  /** `unixHost`, outside of tests. */
  readonly host: StreamHost;
}

export interface OvsdbLimits {
  readonly monitorsMax: number;
  /** Rows that one monitor may show. */
  readonly rowsMax: number;
  /** Length of one message from the server. */
  readonly messageBytesMax: number;
}

const defaultLimits: LinkLimits & OvsdbLimits = {
  ...defaultLinkLimits,
  monitorsMax: 32,
  rowsMax: 262_144,
  messageBytesMax: 64 * 1024 * 1024,
};

/** Connects at once and for as long as it is not closed; calls made before it is connected wait. */
export function createOvsdbClient(options: OvsdbClientOptions): Ovsdb {
  return new OvsdbClient(options);
}

class OvsdbClient implements Ovsdb {
  readonly #database: string;
  readonly #limits: LinkLimits & OvsdbLimits;
  readonly #monitors = new Map<string, OvsdbMonitor>();
  readonly #link: Link;
  #session: OvsdbSession | undefined;
  #schema: OvsdbSchema | undefined;
  #monitorCount = 0;

  constructor({ socketPath, database = 'Open_vSwitch', limits, host }: OvsdbClientOptions) {
    this.#database = database;
    this.#limits = { ...defaultLimits, ...limits };
    this.#link = new Link({
      name: `the OVSDB server at ${socketPath}`,
      socketPath,
      host,
      limits: this.#limits,
      startSession: (stream) => this.#start(stream),
    });
  }

  transact: Ovsdb['transact'] = (operations, budget) => {
    const params = [this.#database, ...operations];
    return this.#request('transact', params, {
      budget,
      read: (result) => readTransactResults(operations, result),
    });
  };

  schema: Ovsdb['schema'] = (budget) => {
    const read = (result: unknown): OvsdbSchema => this.#schema ?? readSchema(result);
    return this.#request('get_schema', [this.#database], { budget, read });
  };

  monitor: Ovsdb['monitor'] = (tables, listener) => {
    const { monitorsMax, rowsMax } = this.#limits;
    if (this.#monitors.size >= monitorsMax) {
      throw new NsmError('RESOURCE_EXHAUSTED', 'the OVSDB client has too many monitors', {
        rule: 'monitors',
        expected: `at most ${monitorsMax}`,
        found: `${this.#monitors.size}`,
        remedy: 'stop one, or monitor several tables with one',
      });
    }
    this.#monitorCount += 1;
    const name = `vwire-${this.#monitorCount}`;
    const database = this.#database;
    const monitor = new OvsdbMonitor({ name, database, tables, rowsMax, listener });
    this.#monitors.set(name, monitor);
    if (this.#session !== undefined && this.#schema !== undefined) {
      monitor.start(this.#session, this.#schema);
    }
    return () => {
      if (this.#monitors.delete(name)) monitor.stop();
    };
  };

  close(): Promise<void> {
    for (const monitor of this.#monitors.values()) monitor.stop();
    this.#monitors.clear();
    this.#link.close();
    return Promise.resolve();
  }

  #request<Result>(
    method: string,
    params: readonly unknown[],
    { budget, read }: { budget: Budget; read: (result: unknown) => Result },
  ): Promise<Result> {
    let abandon = (): void => {};
    return this.#link.call<Result>({
      what: method,
      budget,
      start: (outcome) => {
        const session = this.#session;
        const id = session?.request(method, params, (answer) =>
          settle({ outcome, answer, read, method }),
        );
        abandon = () => void (id !== undefined && session?.cancel(id));
      },
      abandon: () => abandon(),
    });
  }

  #start(stream: SessionStream): Session {
    const splitter = createJsonSplitter({ frameBytesMax: this.#limits.messageBytesMax });
    const session = new OvsdbSession(stream, splitter, {
      onUpdate: (method, monitor, updates) =>
        this.#monitors.get(String(monitor))?.update(method, updates),
    });
    session.request('get_schema', [this.#database], ({ error, result }) => {
      if (error !== undefined) {
        throw ovsdbRefusal(error.error, error.details, `the schema of ${this.#database}`);
      }
      this.#schema = readSchema(result);
      this.#session = session;
      for (const monitor of this.#monitors.values()) monitor.start(session, this.#schema);
      stream.ready();
    });
    return {
      receive: (bytes) => session.receive(bytes),
      probe: () => session.probe(),
      ended: (error) => {
        this.#session = undefined;
        this.#schema = undefined;
        for (const monitor of this.#monitors.values()) monitor.lost(error);
      },
    };
  }
}

/** An answer that cannot be read fails its caller alone: the stream is still in step. */
function settle<Result>(call: {
  readonly outcome: CallOutcome<Result>;
  readonly answer: Answer;
  readonly read: (result: unknown) => Result;
  readonly method: string;
}): void {
  const { outcome, answer, read, method } = call;
  if (answer.error !== undefined) {
    outcome.reject(ovsdbRefusal(answer.error.error, answer.error.details, method));
    return;
  }
  try {
    outcome.resolve(read(answer.result));
  } catch (error) {
    outcome.reject(asNsmError(error));
  }
}
