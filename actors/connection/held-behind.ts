// Whether the next hop holds a connection still: asked of its monitor anew at each look, since what a stream has told
// before an outage is no evidence. Invariant: only an answer without the connection says that it is gone; a hop that
// cannot be reached says nothing.

import { create } from '@bufbuild/protobuf';
import { asNsmError, describeError } from '../../protocols/errors.ts';
import {
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Dialer } from '../../protocols/ports/rpc.ts';
import type { Intent } from './connection-table.ts';
import type { Call } from './hop.ts';
import type { Finding, Look } from './keeping.ts';

export interface HeldBehindSetup {
  /** Own component name. */
  readonly name: string;
  readonly dialer: Dialer;
  readonly clock: Clock;
}

/** Looks at the same time; after an outage all connections of a hop are due at once. */
const parallelMax = 64;

const closedBehind: Finding = { kind: 'gone', why: 'the next hop has closed it' };

export function heldBehind(setup: HeldBehindSetup): Look {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (intent, call) => {
    if (running >= parallelMax) await new Promise<void>((resolve) => waiting.push(resolve));
    running += 1;
    try {
      return await ask(setup, intent, call);
    } finally {
      running -= 1;
      waiting.shift()?.();
    }
  };
}

async function ask(
  { name, dialer, clock }: HeldBehindSetup,
  { connection: { id }, memory: { nextUrl } }: Intent,
  call: Call,
): Promise<Finding> {
  if (nextUrl === undefined) return { kind: 'unknown', why: 'its next hop is not known' };
  const abort = new AbortController();
  const stop = (): void => abort.abort();
  const timer = clock.after(Math.max(0, call.deadlineMs - clock.nowMs()), stop);
  call.signal.addEventListener('abort', stop);
  const selector = create(MonitorScopeSelectorSchema, { pathSegments: [{ name, id }] });
  try {
    const { monitorConnections } = dialer.dial(nextUrl).client(MonitorConnection);
    // The state comes first, in one event, since it is of one connection.
    for await (const event of monitorConnections(selector, { signal: abort.signal })) {
      const held = Object.values(event.connections).some(({ path }) =>
        path?.pathSegments.some((segment) => segment.id === id),
      );
      return held ? { kind: 'there' } : closedBehind;
    }
    return { kind: 'unknown', why: 'the next hop did not say in time whether it holds it' };
  } catch (error) {
    // Without a monitor it cannot tell us when it closes, so it is not to be kept for.
    if (asNsmError(error).code === 'UNIMPLEMENTED') return closedBehind;
    return { kind: 'unknown', why: `the next hop cannot be asked: ${describeError(error)}` };
  } finally {
    timer.cancel();
    call.signal.removeEventListener('abort', stop);
    abort.abort();
  }
}
