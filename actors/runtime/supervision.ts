// Supervision: what follows a crash, as numbers per kind of actor, and the decision made from them.
// NSM concept: none; it is the "let it crash" rule that the project's actors live under.
// Invariants: the decision is a pure function; nested limits multiply, so escalation is for the few that need it.

import type { Supervision } from './api.ts';

const restartAtOnce = { onCrash: 'restart', backoffMs: 50, backoffMsMax: 1_000 } as const;

const forwarder: Supervision = {
  ...restartAtOnce,
  crashesMax: 3,
  windowMs: 60_000,
  whenExceeded: 'escalate',
  backoffMsMax: 5_000,
};

/** One preset per kind of actor. The numbers are starting points, to be judged by the fault injection runs. */
export const supervision = {
  /**
   * Resumes from the recorded intent however often it crashes: it alone holds the connection's expiry, so stopping it
   * would leave the wire for ever. The back-off bounds what that costs.
   */
  connection: {
    ...restartAtOnce,
    crashesMax: Number.POSITIVE_INFINITY,
    windowMs: 10_000,
    whenExceeded: 'stop',
  },
  /** The client resumes through monitor and journal, so it may try for longer than a connection. */
  client: { ...restartAtOnce, crashesMax: 5, windowMs: 30_000, whenExceeded: 'stop' },
  /** Registers again; beyond the limit it expires in the registry. */
  endpointRegistration: { ...restartAtOnce, crashesMax: 5, windowMs: 30_000, whenExceeded: 'stop' },
  /** Reloads from its store. */
  registryDomain: { ...restartAtOnce, crashesMax: 3, windowMs: 60_000, whenExceeded: 'escalate' },
  /** Takes up what runs; what it started lives on meanwhile. */
  supplier: { ...restartAtOnce, crashesMax: 3, windowMs: 60_000, whenExceeded: 'escalate' },
  /** Adopts what the data plane shows. */
  forwarder,
  /** Connects again, dumps, compares, converges. */
  dataplaneLink: forwarder,
  /** The node's tree: nothing above it can help, so the process ends and is started again from outside. */
  manager: {
    onCrash: 'escalate',
    crashesMax: 0,
    windowMs: 60_000,
    whenExceeded: 'escalate',
    backoffMs: 0,
    backoffMsMax: 0,
  },
  /** For a stateless helper whose one bad message should not cost the next one. */
  helper: {
    onCrash: 'resume',
    crashesMax: 100,
    windowMs: 10_000,
    whenExceeded: 'stop',
    backoffMs: 0,
    backoffMsMax: 0,
  },
} as const satisfies Record<string, Supervision>;

/** For an actor that says nothing. */
export const defaultSupervision: Supervision = {
  ...restartAtOnce,
  crashesMax: 3,
  windowMs: 10_000,
  whenExceeded: 'stop',
};

export interface CrashDecision {
  readonly action: Supervision['onCrash'];
  /** Pause before the actor takes messages again; 0 unless the action is `restart`. */
  readonly backoffMs: number;
}

/** `crashesInWindow` counts the crash being decided, so it is at least 1. */
export function decideAfterCrash(supervision: Supervision, crashesInWindow: number): CrashDecision {
  const { onCrash } = supervision;
  if (onCrash === 'stop' || onCrash === 'escalate') return { action: onCrash, backoffMs: 0 };
  if (crashesInWindow > supervision.crashesMax) {
    return { action: supervision.whenExceeded, backoffMs: 0 };
  }
  if (onCrash === 'resume') return { action: 'resume', backoffMs: 0 };
  const doubled = supervision.backoffMs * 2 ** Math.min(crashesInWindow - 1, 30);
  return { action: 'restart', backoffMs: Math.min(doubled, supervision.backoffMsMax) };
}
