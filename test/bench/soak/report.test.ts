// Protects what a soak is believed by: anything left over, lost or grown is a finding, and is counted by its kind.

import { expect, test } from 'vitest';
import { differenceOf } from '../../../bench/soak/looks.ts';
import { findingsOf, soakReport } from '../../../bench/soak/report.ts';
import type { SoakResult } from '../../../bench/soak/run-soak.ts';

const size = { heapUsed: 2 ** 24, code: 2 ** 22, rss: 2 ** 26, timers: 5, descriptors: 30 };

function resultOf(change: Partial<SoakResult> = {}): SoakResult {
  return {
    seed: 1,
    counts: { create: 3, 'kill registry': 1 },
    refusals: {},
    broken: [],
    orphans: [],
    growth: [{ part: 'registry', before: size, after: size, slope: 0 }],
    warmUp: 2,
    seconds: 9,
    ...change,
  };
}

test('a soak that found nothing has no findings, and says what it did', () => {
  expect(findingsOf(resultOf())).toEqual([]);
  const report = soakReport(resultOf());
  expect(report).toContain('Operations: 3 create.');
  expect(report).toContain('Kills and damage: 1 kill registry.');
  expect(report).toContain('0 connections');
});

test.each([
  ['links in the nodes', 'node-1 link vw00000a0000000 vwire/1/x'],
  ['filter tables', 'node-1 table vwire-1 allowed4 10.0.0.1'],
  ['connections', 'connection of hand-1 at node-1-nsmgr'],
  ['quarantined wires', 'quarantined wire 17 at forwarder-1'],
  ['address leases', 'lease of hand-1 at server-1'],
  ['registry entries', 'registry entry server-1'],
  ['interfaces of workloads', 'interface nsm-1 at client-2'],
  ['processes', 'process 17'],
  ['namespaces held', 'namespace net:[1], held by /proc/1/fd/3'],
])('what is left over counts among %s', (kind, line) => {
  const result = resultOf({ orphans: [line] });
  expect(findingsOf(result)).toEqual([`left over: ${line}`]);
  expect(soakReport(result)).toContain(`1 ${kind}`);
});

test.each([
  ['heap', { heapUsed: size.heapUsed * 1.11 }],
  ['timers', { timers: 6 }],
  ['descriptors', { descriptors: 31 }],
])('more %s than before is a finding', (what, change) => {
  const growth = [{ part: 'registry', before: size, after: { ...size, ...change }, slope: 0 }];
  expect(findingsOf(resultOf({ growth }))).toEqual([expect.stringContaining(what)]);
});

test('code that was compiled counts as growth, and is shown for what it is', () => {
  const grown = 2 ** 24 * 0.04;
  const after = { ...size, heapUsed: size.heapUsed + 2 * grown, code: size.code + grown };
  const growth = [{ part: 'registry', before: size, after, slope: 0 }];
  expect(soakReport(resultOf({ growth }))).toContain('| 8.0 % | 4.0 % |');
});

test('holdings are compared by place: what is new is named, and what is gone as well', () => {
  const atRest = new Map([
    ['links in node-1', ['a', 'b']],
    ['links in node-2', ['c']],
  ]);
  expect(differenceOf(atRest, new Map([...atRest, ['links in node-1', ['x', 'b']]]))).toEqual({
    over: [],
    missing: [],
  });
  const now = new Map([['links in node-1', ['a', 'b', 'd']]]);
  expect(differenceOf(atRest, now)).toEqual({
    over: ['d'],
    missing: ['0 of 1 links in node-2 are there'],
  });
});
