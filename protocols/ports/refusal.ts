// What a listener turns away by itself, before any rule could be asked: who proves nothing, and what goes beyond a bound.

import type { NsmError } from '../errors.ts';

export interface Refusal {
  readonly error: NsmError;
  /** SPIFFE ID that the transport has proven; absent: none. */
  readonly peer?: string;
  /** Name of the call; absent: the connection itself, or a greeting on the bus. */
  readonly operation?: string;
}

export type OnRefused = (refusal: Refusal) => void;
