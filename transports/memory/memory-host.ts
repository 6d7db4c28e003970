// The two ends of the network inside the process as a call sees them.

import type { NsmError } from '../../protocols/errors.ts';
import type { OperationGuard } from '../../protocols/messages/operation-guard.ts';
import type { CallsInFlight, ServedMethod } from '../../protocols/messages/served-call.ts';
import { noHeaders } from '../../protocols/messages/served-call.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { CallHeaders, Headers, Peer } from '../../protocols/ports/rpc.ts';

/** A call as its listener sees it: something that can be ended. */
export interface MemoryCall {
  abort(reason: NsmError): void;
}

/** One listener of the network. */
export interface MemoryHost {
  readonly url: string;
  readonly methods: ReadonlyMap<string, ServedMethod>;
  readonly calls: CallsInFlight<MemoryCall>;
  readonly guard: OperationGuard;
}

/** What a call needs of the network. */
export interface MemoryCaller {
  readonly clock: Clock;
  readonly url: string;
  readonly peer: () => Peer;
  readonly callHeaders: CallHeaders | undefined;
  /** The listener at the URL, or why there is none. */
  host(): MemoryHost | NsmError;
}

/** The headers that a call arrives with. */
export function headersOf(caller: MemoryCaller, own: Headers | undefined, peer: Peer): Headers {
  if (caller.callHeaders === undefined) return own ?? noHeaders;
  return { ...own, ...caller.callHeaders.make(peer) };
}
