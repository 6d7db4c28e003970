// A netlink port around the real one that records programs, and on demand fails or "crashes" within one.
// Counting goes over the requests of all programs, so that a test can go through every step of an operation.

import { NsmError } from '../../protocols/errors.ts';
import { getLink } from '../../protocols/netlink/link.ts';
import type { Netlink, NetlinkRequest, NetlinkStep } from '../../protocols/ports/netlink.ts';

export interface RecordingNetlink extends Netlink {
  readonly programs: (readonly NetlinkStep[])[];
}

export function recordingNetlink(inner: Netlink): RecordingNetlink {
  const programs: (readonly NetlinkStep[])[] = [];
  return {
    programs,
    execute(program, budget) {
      programs.push(program);
      return inner.execute(program, budget);
    },
    watchLinks: (prefix, listener) => inner.watchLinks(prefix, listener),
    close: () => inner.close(),
  };
}

export interface FaultyNetlink extends Netlink {
  /** The request with this number (from 0, counted from now) fails, and the program undoes itself. */
  failAt(position: number): void;
  /** Everything before this request happens, nothing after, nothing is undone: as when the process is killed. */
  crashAt(position: number): void;
  /** True when the planned fault has happened. */
  readonly hasStruck: boolean;
  heal(): void;
}

/** No link has this index, so the kernel answers ENODEV. */
const impossible: NetlinkRequest = { message: getLink(0x7ffffffe), what: 'fail as planned' };

export function faultyNetlink(inner: Netlink): FaultyNetlink {
  let plan: { kind: 'fail' | 'crash'; position: number } | undefined;
  let hasStruck = false;
  const start = (kind: 'fail' | 'crash', position: number) => {
    plan = { kind, position };
    hasStruck = false;
  };
  return {
    failAt: (position) => start('fail', position),
    crashAt: (position) => start('crash', position),
    get hasStruck() {
      return hasStruck;
    },
    heal() {
      plan = undefined;
    },
    async execute(program, budget) {
      if (hasStruck && plan?.kind === 'crash') throw crashed();
      const total = program.reduce((sum, step) => sum + step.requests.length, 0);
      if (plan === undefined || hasStruck || plan.position >= total) {
        if (plan !== undefined && !hasStruck) plan.position -= total;
        return inner.execute(program, budget);
      }
      hasStruck = true;
      if (plan.kind === 'fail') return inner.execute(failing(program, plan.position), budget);
      await inner.execute(truncated(program, plan.position), budget);
      throw crashed();
    },
    watchLinks: (prefix, listener) => inner.watchLinks(prefix, listener),
    close: () => inner.close(),
  };
}

function crashed(): NsmError {
  return new NsmError('UNAVAILABLE', 'the process was killed, as planned');
}

/** The steps before a request, with the part of its step that comes before it. A transaction is all or nothing. */
function before(program: readonly NetlinkStep[], position: number): NetlinkStep[] {
  const steps: NetlinkStep[] = [];
  let left = position;
  for (const step of program) {
    if (left <= 0) break;
    const whole = left >= step.requests.length;
    if (whole || step.protocol === 'route') {
      steps.push({ ...step, requests: step.requests.slice(0, left) });
    }
    left -= step.requests.length;
  }
  return steps;
}

function failing(program: readonly NetlinkStep[], position: number): NetlinkStep[] {
  return [...before(program, position), { protocol: 'route', requests: [impossible] }];
}

function truncated(program: readonly NetlinkStep[], position: number): NetlinkStep[] {
  return before(program, position);
}
