// Putting back what is missing of a wire that this forwarder believes to carry. An interface that is gone may be so for a good
// reason: another forwarder took the wire over while this one was away or stood still, its client closed it there, and
// nobody told. So beside what is there everything is put back at once, but an interface in a workload's namespace is made anew
// only where that is known to be right: the manager holds the connection through this forwarder; or it cannot be
// asked, and each workload is the one that the interface was made for.
// Invariants: nothing is put into the namespace of a stranger that has got the number of one that ended; what was made without
// the manager's word is asked about again.

import { asNsmError, describeError, type ErrorDetails, NsmError } from '../../protocols/errors.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import {
  type Budget,
  type Dataplane,
  interfaceGoneRule,
  namespaceRules,
  type Wire,
} from '../../protocols/ports/dataplane.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Namespaces } from '../../protocols/ports/namespaces.ts';
import type { Call, NamespaceIdentities } from '../connection/hop.ts';

export interface CompletionSetup {
  readonly dataplane: Dataplane;
  readonly clock: Clock;
  readonly log: Log;
  /** Absent where nobody can tell one namespace from another that has its URL. */
  readonly namespaces?: Namespaces | undefined;
  /** Whether the manager holds the connection through this forwarder. Rejects where it cannot be asked. */
  readonly isHeld: (id: string, call: Call) => Promise<boolean>;
}

export interface Completion {
  /**
   * Errors: those of `Dataplane.ensure`; NOT_FOUND with a rule of `namespaceRules` where another namespace has the URL now,
   * or with `notHeldRule`; UNAVAILABLE where nobody can say whether an interface may be made: tried again later.
   */
  complete(wire: Wire, known: NamespaceIdentities | undefined, budget: Budget): Promise<void>;
  /** Who is in the namespaces of the wire's ends now. */
  identify(wire: Wire): NamespaceIdentities;
  /** A Request for it has come, or it has ended. */
  settled(id: string): void;
  /**
   * Asks about what was made without the manager's word. Resolves with those that the manager has denied at two reviews in a row:
   * a client that lives and whose manager has lost its memory comes back between them.
   */
  review(): Promise<readonly string[]>;
}

/** `details.rule` where the manager says that it holds no such connection through this forwarder. */
export const notHeldRule = 'held by the manager';

/** Time for the manager's answer. */
const askTimeoutMs = 1_000;
/** A manager that did not answer is not asked again before that: many wires are completed at a time. */
const awayMs = 500;
/** How long a manager may be away before wires are made without its word. */
const patienceMs = 1_000;

type Word = 'held' | 'not held' | 'unknown';

const sides = ['client', 'endpoint'] as const;
type Side = (typeof sides)[number];

export function createCompletion(setup: CompletionSetup): Completion {
  return new WireCompletion(setup);
}

class WireCompletion implements Completion {
  readonly #setup: CompletionSetup;
  /** Made without the manager's word, and whether the last review was denied. */
  readonly #unconfirmed = new Map<string, boolean>();
  #awayUntilMs = Number.NEGATIVE_INFINITY;
  /** Since when the manager cannot be asked. */
  #awaySinceMs: number | undefined;

  constructor(setup: CompletionSetup) {
    this.#setup = setup;
  }

  async complete(
    wire: Wire,
    known: NamespaceIdentities | undefined,
    budget: Budget,
  ): Promise<void> {
    const { dataplane, log } = this.#setup;
    try {
      await dataplane.ensure({ ...wire, makesInterfaces: false }, budget);
      return;
    } catch (error) {
      if (asNsmError(error).details.rule !== interfaceGoneRule) throw error;
    }
    const isSame = this.#areSame(wire, known);
    const word = await this.#ask(wire.id, budget);
    if (word === 'not held') throw notHeld(wire.id);
    if (word === 'unknown' && !(isSame && this.#hasWaited)) throw nobodyKnows(wire.id);
    await dataplane.ensure(wire, budget);
    if (word === 'held') return;
    this.#unconfirmed.set(wire.id, false);
    log.warn('a wire was made again though its manager cannot be asked', { connectionId: wire.id });
  }

  identify(wire: Wire): NamespaceIdentities {
    const identities: { client?: string; endpoint?: string } = {};
    for (const side of sides) {
      try {
        const identity = this.#identityOf(wire, side);
        if (identity !== undefined) identities[side] = identity;
      } catch {
        // Whoever makes the interface says it better.
      }
    }
    return identities;
  }

  settled(id: string): void {
    this.#unconfirmed.delete(id);
  }

  async review(): Promise<readonly string[]> {
    const denied: string[] = [];
    for (const [id, wasDenied] of this.#unconfirmed) {
      const word = await this.#ask(id, { timeoutMs: askTimeoutMs });
      if (word === 'unknown' || !this.#unconfirmed.has(id)) continue;
      if (word === 'not held' && !wasDenied) this.#unconfirmed.set(id, true);
      else this.#unconfirmed.delete(id);
      if (word === 'not held' && wasDenied) denied.push(id);
    }
    return denied;
  }

  /**
   * Whether every workload is known to be the one that its interface was made for. Throws NOT_FOUND where one is known not to
   * be.
   */
  #areSame(wire: Wire, known: NamespaceIdentities | undefined): boolean {
    return sides.every((side) => {
      const end = wire[side];
      if (end.kind !== 'kernel') return true;
      const before = known?.[side];
      const now = this.#present(wire, side);
      if (before === undefined || now === undefined) return false;
      if (before === now) return true;
      throw notThere(wire, side, {
        expected: `the namespace that was at ${end.netns}, ${before}`,
        found: `another one, ${now}`,
      });
    });
  }

  #present(wire: Wire, side: Side): string | undefined {
    try {
      return this.#identityOf(wire, side);
    } catch (error) {
      throw notThere(wire, side, { found: describeError(error) });
    }
  }

  #identityOf(wire: Wire, side: Side): string | undefined {
    const end = wire[side];
    return end.kind === 'kernel' ? this.#setup.namespaces?.identityOf(end.netns) : undefined;
  }

  /** A manager that starts together with this forwarder knows better. */
  get #hasWaited(): boolean {
    const { clock } = this.#setup;
    return this.#awaySinceMs !== undefined && clock.nowMs() - this.#awaySinceMs >= patienceMs;
  }

  async #ask(id: string, { timeoutMs, signal = never }: Budget): Promise<Word> {
    const { clock, log, isHeld } = this.#setup;
    const nowMs = clock.nowMs();
    if (nowMs < this.#awayUntilMs) return 'unknown';
    const deadlineMs = nowMs + Math.min(timeoutMs, askTimeoutMs);
    try {
      const isHeldThere = await isHeld(id, { deadlineMs, signal, headers: {} });
      this.#awaySinceMs = undefined;
      return isHeldThere ? 'held' : 'not held';
    } catch (error) {
      this.#awaySinceMs ??= nowMs;
      this.#awayUntilMs = clock.nowMs() + awayMs;
      log.info('the manager cannot be asked about a wire', {
        connectionId: id,
        error: describeError(error),
      });
      return 'unknown';
    }
  }
}

function notThere({ id }: Wire, side: Side, details: ErrorDetails): NsmError {
  const message = 'the namespace that the interface was in has ended';
  const rule = namespaceRules[side];
  return new NsmError('NOT_FOUND', message, { ...details, rule, connectionId: id });
}

const never = new AbortController().signal;

function notHeld(connectionId: string): NsmError {
  return new NsmError('NOT_FOUND', 'the manager holds no such connection through this forwarder', {
    rule: notHeldRule,
    expected: 'a connection that goes through this forwarder',
    found: 'none: another one carries it, or its client has closed it',
    connectionId,
  });
}

function nobodyKnows(connectionId: string): NsmError {
  return new NsmError('UNAVAILABLE', 'nobody can say whether the wire is still wanted', {
    rule: notHeldRule,
    expected: 'the word of the manager, or namespaces that are known to be the same',
    found: 'neither',
    remedy: 'start the manager; a refresh of the client does as well',
    connectionId,
  });
}
