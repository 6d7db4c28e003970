// One monitor across connections: asked for anew on each, its first state told as `reset`, later ones as changes.
// It asks for a conditional monitor and, where the server knows none, for a plain one whose rows are filtered here.
// Invariants: no event after `stop`; a `lost` stands between two `reset`s.

import { NsmError } from '../../protocols/errors.ts';
import { ovsdbRefusal } from '../../protocols/ovs/ovsdb-errors.ts';
import type { MonitoredTable, RowChange, RowView } from '../../protocols/ovs/ovsdb-rows.ts';
import { createRowView } from '../../protocols/ovs/ovsdb-rows.ts';
import type { OvsdbSchema } from '../../protocols/ovs/ovsdb-schema.ts';
import type { OvsdbEvent } from '../../protocols/ports/ovs.ts';
import type { Answer, OvsdbSession } from './ovsdb-session.ts';

export interface MonitorOptions {
  /** Unique in the client; the server sends it with each update. */
  readonly name: string;
  readonly database: string;
  readonly tables: readonly MonitoredTable[];
  readonly rowsMax: number;
  readonly listener: (event: OvsdbEvent) => void;
}

type Inserted = Extract<RowChange, { readonly kind: 'inserted' }>;

export class OvsdbMonitor {
  readonly #options: MonitorOptions;
  #session: OvsdbSession | undefined;
  #view: RowView | undefined;
  #isStopped = false;

  constructor(options: MonitorOptions) {
    this.#options = options;
  }

  /** Asks the server of a new connection; the answer arrives before any update. */
  start(session: OvsdbSession, schema: OvsdbSchema): void {
    const { tables, rowsMax } = this.#options;
    try {
      this.#view = createRowView(schema, tables, rowsMax);
    } catch (error) {
      if (!(error instanceof NsmError)) throw error;
      this.#tell({ kind: 'lost', error });
      return;
    }
    this.#session = session;
    this.#ask(session, 'monitor_cond', this.#view);
  }

  update(method: string, updates: unknown): void {
    const view = this.#view;
    if (view === undefined || this.#isStopped) return;
    const isFull = method === 'update';
    const changes = isFull ? view.applyUpdates(updates) : view.applyDifferences(updates);
    if (changes.length > 0) this.#tell({ kind: 'changed', changes });
  }

  lost(error: NsmError): void {
    const wasStarted = this.#session !== undefined;
    this.#session = undefined;
    this.#view = undefined;
    if (wasStarted) this.#tell({ kind: 'lost', error });
  }

  stop(): void {
    this.#isStopped = true;
    this.#session?.request('monitor_cancel', [this.#options.name], () => {});
    this.#session = undefined;
    this.#view = undefined;
  }

  #ask(session: OvsdbSession, method: 'monitor_cond' | 'monitor', view: RowView): void {
    const { name, database } = this.#options;
    session.request(method, [database, name, this.#requests(method)], (answer) => {
      if (this.#view !== view) return;
      this.#answered(session, method, answer);
    });
  }

  #requests(method: 'monitor_cond' | 'monitor'): Record<string, unknown> {
    return Object.fromEntries(
      this.#options.tables.map(({ table, columns, where }) => {
        const isConditional = method === 'monitor_cond' && where !== undefined;
        return [table, [{ columns, ...(isConditional ? { where } : {}) }]];
      }),
    );
  }

  #answered(session: OvsdbSession, method: 'monitor_cond' | 'monitor', answer: Answer): void {
    const view = this.#view;
    if (view === undefined) return;
    if (answer.error === undefined) {
      const isFull = method === 'monitor';
      const rows = isFull ? view.applyUpdates(answer.result) : view.applyDifferences(answer.result);
      this.#tell({
        kind: 'reset',
        rows: rows.filter((row): row is Inserted => row.kind === 'inserted'),
      });
      return;
    }
    if (method === 'monitor_cond' && answer.error.error === 'unknown method') {
      this.#ask(session, 'monitor', view);
      return;
    }
    const { error, details } = answer.error;
    this.lost(ovsdbRefusal(error, details, `monitor ${this.#options.name}`));
  }

  #tell(event: OvsdbEvent): void {
    if (!this.#isStopped) this.#options.listener(event);
  }
}
