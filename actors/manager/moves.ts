// Connections that should not stay where they are: each is asked to move, by RESELECT_REQUESTED on its monitor, and keeps
// its wire until its client has another one. A client that knows nothing of that (the reference's) is closed after a grace, as the
// reference does it at once, and comes back by healing. Invariants: who has nowhere to go, or refreshes instead since it was
// refused elsewhere, keeps its wire; nobody is closed twice; at most `batchMax` are asked or closed per tick, however many there are.

import { asNsmError } from '../../protocols/errors.ts';
import { State } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { ConnectionMessage } from '../connection/connection.ts';
import type { ConnectionTable, Intent } from '../connection/connection-table.ts';

/** `move`: there is somebody else; `stuck`: there is nobody, or it cannot be known now. */
export type Verdict =
  | { readonly kind: 'fine' }
  | { readonly kind: 'move' | 'stuck'; readonly why: string };

export type Judge = (intent: Intent) => Promise<Verdict>;

export interface MovesSetup {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly table: Pick<ConnectionTable, 'get'>;
  readonly tell: (id: string, message: ConnectionMessage) => void;
  /** How long a client has to move before its connection is closed under it. */
  readonly graceMs: number;
}

export interface Move {
  readonly phase: 'waiting' | 'asked' | 'closed' | 'stuck';
  /** Why it is to move, or why it cannot. */
  readonly why: string;
}

interface Entry extends Move {
  readonly endpoint: string;
  readonly judge: Judge;
  /** When it is looked at again. */
  readonly dueMs: number;
  /** Of one that was asked. */
  readonly closeAtMs: number;
}

const tickMs = 100;
const batchMax = 64;
/** Who has nowhere to go is looked at again. */
const stuckAgainMs = 2_000;
/** Connections remembered as closed once. */
const closedMax = 10_000;

export class Moves {
  #setup: MovesSetup;
  #entries = new Map<string, Entry>();
  /** By id, the Endpoint that it was closed for; the id stays the same when the client comes back. */
  #closedOnce = new Map<string, string>();
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(setup: MovesSetup) {
    this.#setup = setup;
  }

  /** Sees to it that the connection is where `judge` wants it; again for one that is considered: by the newer judge. */
  consider(id: string, judge: Judge): void {
    const endpoint = endpointOf(this.#setup.table.get(id));
    if (endpoint === undefined) return;
    const known = this.#entries.get(id);
    const isSame = known?.endpoint === endpoint;
    if (isSame && known.judge === judge) return;
    const fresh = { phase: 'waiting', why: '', dueMs: 0, closeAtMs: 0 } as const;
    this.#entries.set(id, { ...(isSame ? known : fresh), endpoint, judge });
    this.#arm();
  }

  /** Something has changed that may let them stay. */
  lookAgain(): void {
    for (const [id, entry] of this.#entries) this.#entries.set(id, { ...entry, dueMs: 0 });
  }

  /** What has become of it; undefined where nobody considers it. */
  of(id: string): Move | undefined {
    return this.#entries.get(id);
  }

  /** Who should move and has nobody to go to, with the reason; by id. */
  *stuck(): Iterable<readonly [id: string, why: string]> {
    for (const [id, { phase, why }] of this.#entries) if (phase === 'stuck') yield [id, why];
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#entries.clear();
  }

  #arm(): void {
    if (this.#isClosed || this.#timer !== undefined || this.#entries.size === 0) return;
    const { clock, random } = this.#setup;
    const delayMs = tickMs * (0.5 + random.integer(1000) / 1000);
    this.#timer = clock.after(delayMs, () => {
      void this.#tick().finally(() => {
        this.#timer = undefined;
        this.#arm();
      });
    });
  }

  async #tick(): Promise<void> {
    const nowMs = this.#setup.clock.nowMs();
    const due: (readonly [string, Entry])[] = [];
    for (const each of this.#entries) {
      if (each[1].dueMs > nowMs) continue;
      due.push(each);
      if (due.length === batchMax) break;
    }
    // Beside each other: one whose service cannot be asked about holds up nobody else.
    await Promise.all(due.map(([id, entry]) => this.#step(id, entry)));
  }

  async #step(id: string, entry: Entry): Promise<void> {
    const next = await this.#advance(id, entry);
    if (this.#isClosed || this.#entries.get(id) !== entry) return;
    // Put at the end, so that those who are due take turns.
    this.#entries.delete(id);
    if (next !== undefined) this.#entries.set(id, next);
  }

  /** Undefined: nothing is left to do. */
  async #advance(id: string, entry: Entry): Promise<Entry | undefined> {
    const { clock, table, graceMs } = this.#setup;
    const intent = table.get(id);
    if (intent === undefined || endpointOf(intent) !== entry.endpoint) return undefined;
    const verdict = await judged(entry.judge, intent);
    if (verdict.kind === 'fine') return this.#leaveInPeace(id, intent);
    const nowMs = clock.nowMs();
    if (verdict.kind === 'stuck') {
      this.#leaveInPeace(id, intent);
      return { ...entry, ...this.#stuck(id, entry, verdict.why), dueMs: nowMs + stuckAgainMs };
    }
    const { why } = verdict;
    if (this.#closedOnce.get(id) === entry.endpoint) {
      const insists = `${why}, but its client came back to it: does it ask for it by name?`;
      return { ...entry, ...this.#stuck(id, entry, insists), dueMs: nowMs + stuckAgainMs };
    }
    if (entry.phase !== 'asked') return this.#ask(id, entry, why);
    if (nowMs < entry.closeAtMs) return { ...entry, why, dueMs: entry.closeAtMs };
    if (intent.connection.state !== State.RESELECT_REQUESTED) {
      // Refreshed since it was asked: its client has heard, was refused elsewhere, and keeps what it has.
      return this.#askAgain(id, entry, why);
    }
    this.#closeUnder(id, entry, why);
    return { ...entry, phase: 'closed', why, dueMs: nowMs + graceMs };
  }

  #ask(id: string, entry: Entry, why: string): Entry {
    const { clock, graceMs, tell } = this.#setup;
    tell(id, { type: 'wish', wished: State.RESELECT_REQUESTED });
    const closeAtMs = clock.nowMs() + graceMs;
    return { ...entry, phase: 'asked', why, dueMs: closeAtMs, closeAtMs };
  }

  #askAgain(id: string, entry: Entry, why: string): Entry {
    return this.#ask(id, entry, `${why}; its client could not move yet and is asked again`);
  }

  #closeUnder(id: string, { endpoint }: Entry, why: string): void {
    const { log, tell } = this.#setup;
    log.info('a client did not move in time, its connection is closed', { connectionId: id, why });
    tell(id, { type: 'wireGone', reason: why });
    this.#closedOnce.set(id, endpoint);
    const [oldest] = this.#closedOnce.keys();
    if (this.#closedOnce.size > closedMax && oldest !== undefined) this.#closedOnce.delete(oldest);
  }

  #stuck(id: string, before: Entry, why: string): Pick<Entry, 'phase' | 'why'> {
    if (before.phase !== 'stuck' || before.why !== why) {
      this.#setup.log.warn('a connection stays where it should not be', { connectionId: id, why });
    }
    return { phase: 'stuck', why };
  }

  #leaveInPeace(id: string, { connection }: Intent): undefined {
    if (connection.state !== State.RESELECT_REQUESTED) return;
    this.#setup.tell(id, { type: 'wish', wished: State.UP });
  }
}

function endpointOf(intent: Intent | undefined): string | undefined {
  return intent?.established === true ? intent.connection.networkServiceEndpointName : undefined;
}

/** What cannot be judged stays. */
async function judged(judge: Judge, intent: Intent): Promise<Verdict> {
  try {
    return await judge(intent);
  } catch (error) {
    return { kind: 'stuck', why: asNsmError(error).message };
  }
}
