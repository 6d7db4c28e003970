// The last decisions of one process, for `vwire why`: who was chosen for which connection, what spoke for and against
// the others, and what became of each try. NSM has nothing of the kind. Invariants: recording costs a few
// references, since explanations are shared or worked out only when somebody asks; the record is bounded and holds
// nothing per connection; an id is unique to its process and its life.

import { describeError, NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { SelectionExplanation } from '../../protocols/nsm/match-explanation.ts';
import type { WallClock } from '../../protocols/ports/clock.ts';
import type { Random } from '../../protocols/ports/random.ts';

/** Decisions that a process remembers. */
export const decisionsMax = 500;

/** What was decided, before anybody was tried. */
export interface DecisionFacts {
  readonly kind: 'endpoint' | 'forwarder';
  readonly connection: Connection;
  readonly reselect: boolean;
  readonly policy: string;
  /** Who asked for that policy. */
  readonly policyFrom: string;
  /** Number of the choice under its match, from 1; 0 where no turns are counted. */
  readonly turn: number;
  /** Candidates before the matches ran. */
  readonly candidateCount: number;
  readonly explain: () => SelectionExplanation | undefined;
  /** In the order in which they are tried. */
  readonly order: readonly string[];
  /** What else speaks of a candidate, for people: its load. */
  readonly noteOf?: (name: string) => string;
  /** Picked by the matches and yet put last or left out. */
  readonly passedOver: readonly { readonly name: string; readonly reason: string }[];
}

export interface Decision extends Omit<DecisionFacts, 'connection' | 'noteOf'> {
  readonly id: string;
  readonly service: string;
  /** Of the path's first segment. */
  readonly client: string;
  /** At every hop so far, the client's first. */
  readonly connectionIds: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly atEpochMs: number;
  /** By place in `order`; empty where nothing was noted. */
  readonly notes: readonly string[];
  /** Those that failed, oldest first. */
  readonly failures: readonly { readonly name: string; readonly error: string }[];
  /** Undefined while nobody has answered yet, and after a refusal. */
  readonly taken: string | undefined;
  /** What the Request was refused with. */
  readonly error: string | undefined;
}

/** A decision whose outcome is still to come. */
export interface OpenDecision {
  readonly id: string;
  /** Runs one try and notes how it ended. */
  trying<T>(name: string, attempt: () => Promise<T>): Promise<T>;
  /** Notes the refusal; what it returns tells its reader where to look the decision up. */
  refused(thrown: unknown): unknown;
}

export interface Decisions {
  open(facts: DecisionFacts): OpenDecision;
  /** Newest first: the one of that id, or those of a connection that has the id at any of its hops. */
  find(key: string): readonly Decision[];
}

const command = 'vwire why';

export interface DecisionsSetup {
  readonly wallClock: WallClock;
  readonly random: Random;
}

interface Recorded extends Decision {
  failures: { name: string; error: string }[];
  taken: string | undefined;
  error: string | undefined;
}

export function createDecisions({ wallClock, random }: DecisionsSetup): Decisions {
  const ring: Recorded[] = [];
  const life = random.uuid().slice(0, 8);
  let count = 0;
  return {
    open(facts) {
      count += 1;
      const { networkService: service, labels, path, id } = facts.connection;
      const segments = path?.pathSegments ?? [];
      const { noteOf, order } = facts;
      // The connection itself is not kept: hundreds of them would be worth megabytes. Field by field, since this is
      // on the way of every Request and a spread object costs several times as much.
      const decision: Recorded = {
        id: `${life}-${count}`,
        kind: facts.kind,
        service,
        labels,
        client: segments[0]?.name ?? '',
        connectionIds: segments.length === 0 ? [id] : segments.map((segment) => segment.id),
        reselect: facts.reselect,
        policy: facts.policy,
        policyFrom: facts.policyFrom,
        turn: facts.turn,
        candidateCount: facts.candidateCount,
        explain: facts.explain,
        order,
        passedOver: facts.passedOver,
        atEpochMs: wallClock.epochMs(),
        notes: noteOf === undefined ? [] : order.map(noteOf),
        failures: [],
        taken: undefined,
        error: undefined,
      };
      ring[(count - 1) % decisionsMax] = decision;
      return opened(decision);
    },
    find(key) {
      const oldest = ring.length < decisionsMax ? 0 : count % decisionsMax;
      const newestFirst = [...ring.slice(oldest), ...ring.slice(0, oldest)].reverse();
      return newestFirst.filter((each) => each.id === key || each.connectionIds.includes(key));
    },
  };
}

function opened(decision: Recorded): OpenDecision {
  return {
    id: decision.id,
    async trying(name, attempt) {
      try {
        const result = await attempt();
        decision.taken = name;
        return result;
      } catch (thrown) {
        decision.failures.push({ name, error: describeError(thrown) });
        throw thrown;
      }
    },
    refused(thrown) {
      decision.error = describeError(thrown);
      if (!(thrown instanceof NsmError)) return thrown;
      const { code, message, details } = thrown;
      // A hop further on has named its own decision, which is nearer to the cause.
      if (details.remedy?.includes(command) === true) return thrown;
      const lookUp = `${command} ${decision.id} tells the whole choice`;
      const remedy = details.remedy === undefined ? lookUp : `${details.remedy}; ${lookUp}`;
      return new NsmError(code, message, { ...details, remedy, cause: thrown });
    },
  };
}
