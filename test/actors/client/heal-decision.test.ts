// Protects the choice between repairing in place and another Endpoint: only what speaks against the Endpoint, or
// trouble at the client's own node that lasts, lets a client leave an Endpoint whose wire still carries packets.

import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  afterFailedRepair,
  type Evidence,
  type Healing,
  healingBegins,
  type Remedy,
  remedyFor,
} from '../../../actors/client/heal-decision.ts';
import { type ErrorCode, NsmError } from '../../../protocols/errors.ts';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';

const connection = create(ConnectionSchema, {
  path: {
    pathSegments: [
      { name: 'nsc', id: 'nsc-0' },
      { name: 'nsmgr', id: 'm' },
    ],
  },
});

/** Failed repairs until the client reselects; `most` where it never does. */
function repairsBeforeDoubt(code: ErrorCode, hop?: string, most = 50): number {
  const error = new NsmError(code, 'no', hop === undefined ? {} : { hop });
  let healing: Healing = healingBegins;
  for (let count = 1; count < most; count += 1) {
    healing = afterFailedRepair(healing, connection, error);
    if (healing.doubtsEndpoint) return count;
  }
  return most;
}

describe('a failed repair', () => {
  it('speaks against the Endpoint at once where a hop behind the manager refused', () => {
    expect(repairsBeforeDoubt('UNAVAILABLE', 'forwarder')).toBe(1);
    expect(repairsBeforeDoubt('UNKNOWN', 'nse')).toBe(1);
  });

  it('says nothing where nobody could be asked', () => {
    expect(repairsBeforeDoubt('UNAVAILABLE')).toBe(50);
  });

  it('that nobody answered in time may be the manager’s fault once, not for ever', () => {
    expect(repairsBeforeDoubt('DEADLINE_EXCEEDED')).toBe(2);
  });

  it('at a manager without its forwarder is borne six times', () => {
    expect(repairsBeforeDoubt('UNAVAILABLE', 'nsmgr')).toBe(6);
  });
});

const table: readonly (readonly [
  Evidence['dataPlane'],
  Evidence['controlPlane'],
  Evidence['endpoint'],
  Remedy,
])[] = [
  ['alive', 'up', 'trusted', 'none'],
  ['alive', 'up', 'doubted', 'none'],
  ['alive', 'lost', 'trusted', 'repair'],
  ['alive', 'lost', 'doubted', 'repair'],
  ['dead', 'up', 'trusted', 'reselect'],
  ['dead', 'up', 'doubted', 'reselect'],
  ['dead', 'lost', 'trusted', 'reselect'],
  ['dead', 'lost', 'doubted', 'reselect'],
  ['unknown', 'up', 'trusted', 'none'],
  ['unknown', 'up', 'doubted', 'none'],
  ['unknown', 'lost', 'trusted', 'repair'],
  ['unknown', 'lost', 'doubted', 'reselect'],
];

describe('the decision table', () => {
  it.each(table)('data plane %s, control plane %s, Endpoint %s: %s', (...row) => {
    const [dataPlane, controlPlane, endpoint, remedy] = row;
    expect(remedyFor({ dataPlane, controlPlane, endpoint })).toBe(remedy);
  });

  it('has a row for every combination', () => {
    expect(new Set(table.map((row) => row.slice(0, 3).join())).size).toBe(3 * 2 * 2);
  });
});
