// How a connection's intent gets into the journal, and what a journal that refuses costs. Invariant: what lives is not
// taken down for want of a record.

import { describeError } from '../../protocols/errors.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { ConnectionTable, Intent } from './connection-table.ts';

export interface RecordingSetup {
  readonly id: string;
  readonly table: ConnectionTable;
  /** The component's: each line says which connection, and a log of its own would cost each the memory of one. */
  readonly log: Log;
}

/**
 * What the journal does not take is not promised. But a wire that lives is not taken down for want of a record: a full
 * disk costs what a crash meanwhile would not know, and no more.
 */
export function promise(setup: RecordingSetup, lives: boolean, intent: Intent): Promise<void> {
  return lives ? record(setup, intent) : setup.table.put(intent);
}

/** For what this life knows whether or not the journal takes it; the next change writes it again. */
export async function record(setup: RecordingSetup, intent: Intent): Promise<void> {
  try {
    await setup.table.put(intent);
  } catch (thrown) {
    const error = describeError(thrown);
    setup.log.warn('the journal refused a change', { connectionId: setup.id, error });
  }
}
