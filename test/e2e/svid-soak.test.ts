// Protects a mesh whose certificates are renewed all the time: with SVIDs of 14 s over gRPC on every hop no packet is
// lost, no Request fails, no client has to heal, and no stream outlives trust in its peer. A short form of
// `npm run soak -- --svid 20s`.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';

import { svidFindingsOf } from '../../bench/soak/svid/report.ts';
import { runSvidSoak } from '../../bench/soak/svid/run-svid-soak.ts';
import { whyNoNamespaces } from '../sandbox/namespaces.ts';

const repository = join(import.meta.dirname, '../..');
const reason = whyNoNamespaces();
const note = reason === undefined ? '' : ` (needs network namespaces: ${reason})`;

describe.skipIf(reason !== undefined)(`a soak of identities, the short run${note}`, () => {
  beforeAll(async () => {
    const prepare = ['bin/bootstrap.mjs', 'prepare'];
    await promisify(execFile)(process.execPath, prepare, { cwd: repository });
  }, 200_000);

  test('nothing is lost and nothing fails while everything is renewed', async () => {
    const result = await runSvidSoak({
      svidLifetimeMs: 14_000,
      durationMs: 35_000,
      bus: 'grpc',
      executable: join(repository, 'dist/bin/vwire.js'),
      progress: () => {},
      signal: new AbortController().signal,
    });
    expect(svidFindingsOf(result)).toEqual([]);
    expect(result.wires.map(({ sent }) => sent > 31_000)).toEqual([true, true]);
    expect(result.renewals).toBeGreaterThanOrEqual(4);
  }, 200_000);
});
