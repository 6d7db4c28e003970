// Protects the audit log from drowning in refreshes and from losing any of them: what repeats is counted, and every count is
// written at last; and the memory of a process from all that it has ever granted.

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
const close: AuditEntry = { ...request, operation: 'Close' };
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

  it('writes a Close once, however often who had no answer comes again, and forgets it a minute after', async () => {
    const audit = trail();
    audit.record(close);
    for (let again = 0; again < 20; again += 1) {
      await clock.advance(30_000);
      audit.record(close);
    }
    expect(counts()).toEqual([['granted', 0]]);
    await clock.advance(120_000);
    audit.record({ ...close, connectionId: 'c-2' });
    expect(written.map(({ connectionId, repeated = 0 }) => [connectionId, repeated])).toEqual([
      ['c-1', 0],
      ['c-2', 0],
      ['c-1', 20],
    ]);
    expect(audit.size).toBe(1);
  });

  it('gives the Close of a connection that has begun anew a line of its own', () => {
    const audit = trail();
    for (let life = 0; life < 2; life += 1) {
      audit.record(request);
      audit.record(close);
      audit.ended({ connectionId: 'c-1', peer: 'spiffe://home.test/nsc' });
    }
    expect(written.map(({ operation }) => operation)).toEqual([
      'Request',
      'Close',
      'Request',
      'Close',
    ]);
  });

  it('remembers what lives, and not all that has ever lived', async () => {
    const audit = new AuditTrail({ log: { write }, clock, grantKeptMs: 90_000 });
    for (let minute = 0; minute < 60; minute += 1) {
      audit.record(request);
      for (let id = 0; id < 100; id += 1) {
        const connectionId = `${minute}-${id}`;
        // Half of them end by themselves.
        audit.record({ ...request, connectionId });
        if (id % 2 === 0) continue;
        audit.record({ ...close, connectionId });
        audit.ended({ connectionId, peer: 'spiffe://home.test/nsc' });
      }
      await clock.advance(60_000);
    }
    // 50 Requests of each of the last two minutes, 50 Closes of the last one, and the one that lives.
    expect(audit.size).toBeLessThanOrEqual(2 * 50 + 50 + 1);
    audit.record(request);
    const lines = written.filter(({ connectionId }) => connectionId === 'c-1');
    expect(lines.map(({ repeated = 0 }) => repeated)).toEqual([0, 59]);
  });

  it('loses no count when it must forget, or at the end', () => {
    const audit = trail(1);
    const other = { ...request, connectionId: 'c-2' };
    for (const each of [request, request, other, other, denied, denied]) audit.record(each);
    audit.close();
    expect(counts()).toEqual([
      ['granted', 0],
      ['granted', 0],
      ['granted', 1],
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
