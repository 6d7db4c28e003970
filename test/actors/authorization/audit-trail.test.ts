// Protects the audit log from drowning in refreshes and from losing any of them: what repeats is counted, and every count is
// written at last.

import { beforeEach, describe, expect, it } from 'vitest';
import { AuditTrail } from '../../../actors/authorization/audit-trail.ts';
import type { AuditEntry, AuditRecord } from '../../../protocols/ports/audit.ts';
import { createManualClock, type ManualClock } from '../../sandbox/manual-clock.ts';

let written: AuditRecord[];
let clock: ManualClock;

beforeEach(() => {
  written = [];
  clock = createManualClock();
});

const trail = (rememberedMax = 100) =>
  new AuditTrail({ log: { write: (record) => void written.push(record) }, clock, rememberedMax });

const request: AuditEntry = {
  decision: 'granted',
  operation: 'Request',
  hop: 'nsmgr',
  self: 'spiffe://home.test/nsmgr',
  peer: 'spiffe://home.test/nsc',
  connectionId: 'c-1',
};
const denied: AuditEntry = { ...request, decision: 'denied', rule: 'tokens_expired' };
const counts = () => written.map(({ decision, repeated = 0 }) => [decision, repeated]);

describe('the audit trail', () => {
  it('writes a grant once, and its refreshes as a number an hour later', async () => {
    const audit = trail();
    for (let refresh = 0; refresh <= 3; refresh += 1) audit.record(request);
    expect(counts()).toEqual([['granted', 0]]);
    await clock.advance(3_600_000);
    audit.record(request);
    expect(counts()).toEqual([
      ['granted', 0],
      ['granted', 3],
    ]);
  });

  it('writes a denial at once, also after a grant, and again after ten minutes', async () => {
    const audit = trail();
    audit.record(request);
    audit.record(denied);
    audit.record(denied);
    await clock.advance(600_000);
    audit.record(denied);
    expect(counts()).toEqual([
      ['granted', 0],
      ['denied', 0],
      ['denied', 1],
    ]);
  });

  it.each([
    ['another peer', { peer: 'spiffe://home.test/other' }],
    ['another connection', { connectionId: 'c-2' }],
    ['another rule', { rule: 'tokens_valid' }],
    ['another operation', { operation: 'Close' }],
  ])('takes %s for another decision', (_, change) => {
    const audit = trail();
    audit.record(denied);
    audit.record({ ...denied, ...change });
    expect(written).toHaveLength(2);
  });

  it('writes what it has counted when the connection ends, and what comes then is new', () => {
    const audit = trail();
    for (let refresh = 0; refresh <= 2; refresh += 1) audit.record(request);
    audit.ended({ connectionId: 'c-1', peer: 'spiffe://home.test/nsc' });
    audit.record(request);
    expect(counts()).toEqual([
      ['granted', 0],
      ['granted', 2],
      ['granted', 0],
    ]);
  });

  it('loses no count when it must forget, or at the end', () => {
    const audit = trail(1);
    audit.record(request);
    audit.record(request);
    audit.record(denied);
    audit.record(denied);
    audit.close();
    expect(counts()).toEqual([
      ['granted', 0],
      ['denied', 0],
      ['granted', 1],
      ['denied', 1],
    ]);
  });
});
