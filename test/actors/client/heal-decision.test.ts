// Protects the choice between repairing in place and another Endpoint: only what speaks against the Endpoint, or
// trouble at the client's own node that lasts, lets a client leave an Endpoint whose wire still carries packets.

import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  afterFailedRepair,
  type Healing,
  healingBegins,
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
function repairsBeforeReselect(code: ErrorCode, hop?: string, most = 50): number {
  const error = new NsmError(code, 'no', hop === undefined ? {} : { hop });
  let healing: Healing = healingBegins;
  for (let count = 1; count < most; count += 1) {
    healing = afterFailedRepair(healing, connection, error);
    if (healing.reselects) return count;
  }
  return most;
}

describe('a failed repair', () => {
  it('speaks against the Endpoint at once where a hop behind the manager refused', () => {
    expect(repairsBeforeReselect('UNAVAILABLE', 'forwarder')).toBe(1);
    expect(repairsBeforeReselect('UNKNOWN', 'nse')).toBe(1);
  });

  it('says nothing where nobody could be asked', () => {
    expect(repairsBeforeReselect('UNAVAILABLE')).toBe(50);
  });

  it('that nobody answered in time may be the manager’s fault once, not for ever', () => {
    expect(repairsBeforeReselect('DEADLINE_EXCEEDED')).toBe(2);
  });

  it('at a manager without its forwarder is borne six times', () => {
    expect(repairsBeforeReselect('UNAVAILABLE', 'nsmgr')).toBe(6);
  });
});
