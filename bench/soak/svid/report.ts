// What a soak of identities found, for people, and whether that is as promised. Pure.

import type { SvidSoakResult } from './run-svid-soak.ts';

/** What a timer of a process that waits for its turn may be late by. */
const lateMsMax = 1_000;

/** Everything that is not as promised; empty where the soak is passed. */
export function svidFindingsOf(result: SvidSoakResult): readonly string[] {
  const { wires, requests, streams, unwell, orphans, renewals, seconds, svidLifetimeMs } = result;
  const findings: string[] = [];
  for (const { name, lostThere, lostBack, longestMs, changed } of wires) {
    const lost = lostThere + lostBack;
    if (lost > 0) findings.push(`${name}: ${lost} packets lost, ${longestMs} ms at the longest`);
    findings.push(...changed.map((each) => `${name}: ${each}`));
  }
  findings.push(...requests.failures.map((each) => `failed: ${each}`));
  if (requests.created * requests.refreshed * requests.closed === 0) {
    findings.push('no Requests were made');
  }
  findings.push(...streams.failures.map((each) => `stream: ${each}`));
  if (streams.leastLeftMs < 0)
    findings.push(`a stream outlived trust by ${-streams.leastLeftMs} ms`);
  if (streams.outlivedMs > lateMsMax) {
    findings.push(
      `a server kept a stream for ${streams.outlivedMs} ms beyond its client's certificate`,
    );
  }
  const lives = (seconds * 1_000) / svidLifetimeMs;
  if (renewals < Math.floor(lives))
    findings.push(`${renewals} renewals in ${lives.toFixed(1)} lives`);
  if (lives >= 2 && (streams.replaced === 0 || streams.careless === 0)) {
    findings.push('no stream was replaced');
  }
  findings.push(...unwell.map((each) => `client ${each}`));
  findings.push(...orphans.map((each) => `left over: ${each}`));
  return findings;
}

export function svidSoakReport(result: SvidSoakResult): string {
  const { wires, requests, streams, renewals, seconds, svidLifetimeMs, bus, orphans } = result;
  const { created, refreshed, closed, slowestMs, failures } = requests;
  const findings = svidFindingsOf(result);
  const between = bus === 'grpc' ? 'gRPC with mTLS on every hop' : 'NATS between the parts';
  return [
    `SVIDs of ${svidLifetimeMs / 1_000} s for ${seconds.toFixed(0)} s, over ${between}: ${renewals} renewals of each identity.`,
    '',
    `- Requests: ${created} created, ${refreshed} refreshed, ${closed} closed; ${failures.length} failed; the slowest took ${ms(slowestMs)}.`,
    `- Streams replaced: ${streams.replaced}, the tightest with ${ms(streams.leastLeftMs)} of trust left on both sides.`,
    `- Streams of clients that follow no rotation: ${streams.careless}; the server ended the last of them ${after(streams.outlivedMs)} its certificate's end.`,
    `- Clients that had to heal: ${result.unwell.length}. Left over: ${orphans.length}.`,
    '',
    ...(findings.length === 0 ? [] : [...findings.map((each) => `- MISSED: ${each}`), '']),
    '| wire | packets | lost there | lost back | twice | longest gap | sender late by |',
    '|---|---|---|---|---|---|---|',
    ...wires.map(
      ({ name, sent, lostThere, lostBack, duplicated, longestMs, lateMs }) =>
        `| ${name} | ${sent} | ${lostThere} | ${lostBack} | ${duplicated} | ${ms(longestMs)} | ${ms(lateMs)} |`,
    ),
  ].join('\n');
}

const ms = (value: number): string => (Number.isFinite(value) ? `${Math.round(value)} ms` : 'none');

const after = (value: number): string =>
  value <= 0 ? `${ms(-value)} before` : `${ms(value)} after`;
