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

const write = (record: AuditRecord): void => void written.push(record);

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

  it('gives a peer that is denied ever other things a line each, then one per rule with their number', async () => {
    const audit = new AuditTrail({ log: { write }, clock, denialsPerPeerMax: 3 });
    for (let id = 0; id < 1_000; id += 1) audit.record({ ...denied, connectionId: `guess-${id}` });
    audit.record({ ...denied, connectionId: 'guess-0', rule: 'tokens_valid' });
    expect(written.map(({ connectionId = '', rule }) => [connectionId, rule])).toEqual([
      ['guess-0', 'tokens_expired'],
      ['guess-1', 'tokens_expired'],
      ['guess-2', 'tokens_expired'],
      ['', 'tokens_expired'],
      ['', 'tokens_valid'],
    ]);
    const { operation, hop, self, peer } = denied;
    const summary = { decision: 'denied', operation, hop, self, peer, isSummary: true };
    expect(written[3]).toEqual({ ...summary, rule: 'tokens_expired' });
    written = [];
    // Others have lines of their own, and so has whoever waits.
    audit.record({ ...denied, peer: 'spiffe://home.test/other' });
    await clock.advance(600_000);
    audit.record({ ...denied, connectionId: 'guess-0' });
    expect(written).toEqual([
      { ...denied, peer: 'spiffe://home.test/other' },
      { ...summary, rule: 'tokens_expired', repeated: 996 },
      { ...denied, connectionId: 'guess-0' },
    ]);
    audit.close();
  });

  it('gives all who prove nothing the lines of one', () => {
    const audit = new AuditTrail({ log: { write }, clock, denialsPerPeerMax: 3 });
    const { peer: _, ...byNobody } = denied;
    for (let id = 0; id < 100; id += 1) audit.record({ ...byNobody, connectionId: `guess-${id}` });
    audit.close();
    expect(written).toHaveLength(5);
    expect(written[4]).toMatchObject({ isSummary: true, repeated: 96 });
    expect(written[4]?.peer).toBeUndefined();
  });
});
