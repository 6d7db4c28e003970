// A netlink port around the real one that records programs, and on demand fails or "crashes" within one.
// Counting goes over the requests of all programs, so that a test can go through every step of an operation.

import { getLink } from '../../protocols/netlink/link.ts';
import type { Netlink, NetlinkRequest, NetlinkStep } from '../../protocols/ports/netlink.ts';
import { killed, type PlannedFaults } from './planned-faults.ts';

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

/** No link has this index, so the kernel answers ENODEV. */
const impossible: NetlinkRequest = { message: getLink(0x7ffffffe), what: 'fail as planned' };

/** A request is one step. */
export function faultyNetlink(inner: Netlink, faults: PlannedFaults): Netlink {
  return {
    async execute(program, budget) {
      const total = program.reduce((sum, step) => sum + step.requests.length, 0);
      const fault = faults.before(total);
      if (fault === undefined) return inner.execute(program, budget);
      if (fault.kind === 'fail') return inner.execute(failing(program, fault.position), budget);
      await inner.execute(truncated(program, fault.position), budget);
      throw killed();
    },
    watchLinks: (prefix, listener) => inner.watchLinks(prefix, listener),
    close: () => inner.close(),
  };
}

/** The steps before a request, with the part of its step that comes before it. A transaction is all or nothing. */
function before(program: readonly NetlinkStep[], position: number): NetlinkStep[] {
  const steps: NetlinkStep[] = [];
  let left = position;
  for (const step of program) {
    if (left <= 0) break;
    const whole = left >= step.requests.length;
    if (whole || step.protocol !== 'netfilter') {
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
