// Protects what a soak of identities is believed by: a lost packet, a failed Request, a client that had to heal and a
// stream older than trust are findings, and so is a soak in which nothing happened.

import { expect, test } from 'vitest';
import { svidFindingsOf, svidSoakReport } from '../../../bench/soak/svid/report.ts';
import type { SvidSoakResult } from '../../../bench/soak/svid/run-svid-soak.ts';

const wire = {
  name: 'local-1',
  sent: 60_000,
  lostThere: 0,
  lostBack: 0,
  duplicated: 0,
  reordered: 0,
  longest: undefined,
  last: undefined,
  resumedMs: undefined,
  longestMs: 0,
  longestAtMs: undefined,
  flowsAgainMs: undefined,
  lateMs: 3,
  changed: [],
};
const requests = { created: 10, refreshed: 30, closed: 10, slowestMs: 90, failures: [] };
const streams = { replaced: 6, leastLeftMs: 4_000, careless: 12, outlivedMs: 5, failures: [] };

function resultOf(change: Partial<SvidSoakResult> = {}): SvidSoakResult {
  return {
    svidLifetimeMs: 20_000,
    bus: 'grpc',
    seconds: 60,
    renewals: 6,
    wires: [wire],
    requests,
    streams,
    unwell: [],
    orphans: [],
    ...change,
  };
}

test('a soak that found nothing has no findings, and says what it did', () => {
  expect(svidFindingsOf(resultOf())).toEqual([]);
  const report = svidSoakReport(resultOf());
  expect(report).toContain('SVIDs of 20 s for 60 s, over gRPC with mTLS on every hop: 6 renewals');
  expect(report).toContain('10 created, 30 refreshed, 10 closed; 0 failed; the slowest took 90 ms');
  expect(report).toContain('| local-1 | 60000 | 0 | 0 |');
});

test.each([
  ['a lost packet', { wires: [{ ...wire, lostBack: 1, longestMs: 1 }] }, '1 packets lost'],
  ['an interface that is another', { wires: [{ ...wire, changed: ['a became b'] }] }, 'became'],
  ['a failed Request', { requests: { ...requests, failures: ['create: NOT_FOUND'] } }, 'NOT_FOUND'],
  ['a soak without Requests', { requests: { ...requests, refreshed: 0 } }, 'no Requests'],
  ['a stream older than trust', { streams: { ...streams, leastLeftMs: -1 } }, 'outlived trust'],
  ['a server that keeps one', { streams: { ...streams, outlivedMs: 1_500 } }, '1500 ms beyond'],
  ['a stream that broke', { streams: { ...streams, failures: ['UNAVAILABLE'] } }, 'stream: UNA'],
  ['certificates that stay', { renewals: 1 }, '1 renewals in 3.0 lives'],
  ['a client that had to heal', { unwell: ['client-3: healing'] }, 'healing'],
  ['what is left over', { orphans: ['process 17'] }, 'process 17'],
])('%s is a finding', (_, change, found) => {
  const findings = svidFindingsOf(resultOf(change));
  expect(findings).toHaveLength(1);
  expect(findings[0]).toContain(found);
  expect(svidSoakReport(resultOf(change))).toContain('MISSED');
});
