// What the calls of the simulated network need to know of each other's processes, listeners and links.

import type { NsmError } from '../../protocols/errors.ts';
import type { OperationGuard } from '../../protocols/messages/operation-guard.ts';
import type { CallsInFlight, ServedMethod } from '../../protocols/messages/served-call.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Random } from '../../protocols/ports/random.ts';

/** One life of a process on the network. Nothing of a process that is not alive runs any more. */
export interface SimulatedProcess {
  readonly name: string;
  /** Machine; links are between places. */
  readonly place: string;
  /** The process's own, whose origin is that of its machine. */
  readonly clock: Clock;
  /** Called before each message that the process sends or takes: here a fault may end it. */
  readonly onStep?: () => void;
  isAlive: boolean;
}

/** False where the process is no longer there to do it. */
export function mayStep(process: SimulatedProcess): boolean {
  if (process.isAlive) process.onStep?.();
  return process.isAlive;
}

/** How a process ended for its peers: with its sockets reset at once, or behind a bus that tells nobody. */
export type Ending = 'reset' | 'silent';

/** The wires of the network, as whoever injects faults sees them. */
export interface Links {
  /** Delays after which copies of one message arrive; none: it is lost. */
  carry(from: string, to: string): readonly number[];
  /** Since when nothing at all passes, on the network's clock; undefined where something may. */
  cutSinceMs(from: string, to: string): number | undefined;
}

/** A call as its listener sees it. */
export interface ServedFlight {
  abort(reason: NsmError): void;
}

/** One listener. */
export interface SimulatedHost {
  readonly url: string;
  readonly process: SimulatedProcess;
  readonly methods: ReadonlyMap<string, ServedMethod>;
  readonly calls: CallsInFlight<ServedFlight>;
  /** By the id that the caller gave. */
  readonly byId: Map<number, ServedFlight & { cancel(): void }>;
  readonly guard: OperationGuard;
  isClosing: boolean;
}

/** A call under way between two processes. */
export interface Flight {
  readonly caller: SimulatedProcess;
  readonly callee: () => SimulatedProcess | undefined;
  /** The callee's process has ended. */
  onCalleeEnded(ending: Ending): void;
  /** The caller's process has ended. */
  onCallerEnded(ending: Ending): void;
  /** The caller's dialer is closed: it hears so, and nobody else. */
  onDialerClosed(error: NsmError): void;
  /** Looks whether the peer has been silent for too long. */
  checkSilence(): void;
}

export interface NetworkCore {
  /** Outside all processes: what is on its way arrives whoever ends. */
  readonly clock: Clock;
  readonly random: Random;
  readonly links: Links;
  readonly hosts: Map<string, SimulatedHost>;
  /** Where a URL was last listened on; a message to it goes there. */
  readonly places: Map<string, string>;
  readonly flights: Set<Flight>;
  readonly onEvent: (event: string) => void;
  nextId(): number;
  /** Up to so many ms, drawn. */
  upTo(ms: number): number;
}

/** How often an end of a stream shows that it is alive, and how many of its signs may be missed: as over the bus. */
export const beatMs = 1_000;
export const silentAfterMs = 3 * beatMs;

/** Brings `arrive` to the other end once per copy of the message. */
export function transmit(
  core: NetworkCore,
  from: string,
  to: string,
  arrive: () => void,
): number | undefined {
  let first: number | undefined;
  for (const delayMs of core.links.carry(from, to)) {
    first = Math.min(first ?? delayMs, delayMs);
    core.clock.after(delayMs, arrive);
  }
  return first;
}
