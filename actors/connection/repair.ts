// Putting back what somebody else has taken away of what this hop made, in the connection's own turn. Invariant: it
// changes nothing of the connection, and one that is over has nothing to repair.

import { asNsmError } from '../../protocols/errors.ts';
import type { ReplyTo } from '../runtime/api.ts';
import type { Intent } from './connection-table.ts';
import type { Call, Hop } from './hop.ts';

export interface Repair {
  readonly type: 'repair';
  readonly call: Call;
  readonly replyTo: ReplyTo<readonly string[]>;
}

/** Answers with what was missing. */
export async function repairAt<State extends { readonly phase: string; readonly intent?: Intent }>(
  hop: Hop,
  state: State,
  { call, replyTo }: Repair,
): Promise<State> {
  const intent = state.phase === 'established' ? state.intent : undefined;
  try {
    const found = intent && (await hop.repair?.(intent.connection, intent.memory, call));
    replyTo.tell(found ?? []);
  } catch (thrown) {
    replyTo.fail(asNsmError(thrown));
  }
  return state;
}
