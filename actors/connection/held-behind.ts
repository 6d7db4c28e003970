// Whether a neighbouring hop holds a connection still: asked of its monitor anew at each look, since what a stream has told
// before an outage is no evidence. Invariant: only an answer without the connection says that it is gone; a hop that
// cannot be reached says nothing.

import { create } from '@bufbuild/protobuf';
import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import {
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Dialer } from '../../protocols/ports/rpc.ts';
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

/** Whether the hop behind `url` holds the connection that has this id here. Errors: those of the call. */
export type AskHeld = (url: string, id: string, call: Call) => Promise<boolean>;

export function askHeld(setup: HeldBehindSetup): AskHeld {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (url, id, call) => {
    if (running >= parallelMax) await new Promise<void>((resolve) => waiting.push(resolve));
    running += 1;
    try {
      return await ask(setup, { url, id }, call);
    } finally {
      running -= 1;
      waiting.shift()?.();
    }
  };
}

const closedBehind: Finding = { kind: 'gone', why: 'the next hop has closed it' };

export function heldBehind(setup: HeldBehindSetup): Look {
  const asking = askHeld(setup);
  return async ({ connection: { id }, memory: { nextUrl } }, call) => {
    if (nextUrl === undefined) return { kind: 'unknown', why: 'its next hop is not known' };
    try {
      return (await asking(nextUrl, id, call)) ? { kind: 'there' } : closedBehind;
    } catch (error) {
      // Without a monitor it cannot tell us when it closes, so it is not to be kept for.
      if (asNsmError(error).code === 'UNIMPLEMENTED') return closedBehind;
      return { kind: 'unknown', why: `the next hop cannot be asked: ${describeError(error)}` };
    }
  };
}

async function ask(
  { name, dialer, clock }: HeldBehindSetup,
  { url, id }: { readonly url: string; readonly id: string },
  call: Call,
): Promise<boolean> {
  const abort = new AbortController();
  const stop = (): void => abort.abort();
  const timer = clock.after(Math.max(0, call.deadlineMs - clock.nowMs()), stop);
  call.signal.addEventListener('abort', stop);
  const selector = create(MonitorScopeSelectorSchema, { pathSegments: [{ name, id }] });
  try {
    const { monitorConnections } = dialer.dial(url).client(MonitorConnection);
    // The state comes first, in one event, since it is of one connection.
    for await (const event of monitorConnections(selector, { signal: abort.signal })) {
      return Object.values(event.connections).some(({ path }) =>
        path?.pathSegments.some((segment) => segment.id === id),
      );
    }
    throw new NsmError('DEADLINE_EXCEEDED', 'it did not say in time whether it holds it');
  } finally {
    timer.cancel();
    call.signal.removeEventListener('abort', stop);
    abort.abort();
  }
}
