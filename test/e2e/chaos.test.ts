// Protects live wires under what happens to meshes, as `npm run chaos` does it, in its quick form: 1,000 packets a
// second each way while parts are killed and Endpoints destroyed. Losses and identities are held to their bounds,
// times are not: how fast traffic flows again on a loaded machine is the business of docs/benchmarks.md.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';

import { allCases } from '../../bench/chaos/cases/all.ts';
import { quickCases, runChaos } from '../../bench/chaos/run-chaos.ts';
import { whyNoNamespaces } from '../sandbox/namespaces.ts';

const repository = join(import.meta.dirname, '../..');
const reason = whyNoNamespaces();
const note = reason === undefined ? '' : ` (needs network namespaces: ${reason})`;

describe.skipIf(reason !== undefined)(`chaos, the quick run${note}`, () => {
  beforeAll(async () => {
    const prepare = ['bin/bootstrap.mjs', 'prepare'];
    await promisify(execFile)(process.execPath, prepare, { cwd: repository });
  }, 200_000);

  test('nothing is lost that may not be, nothing changes, nothing is left over', async () => {
    const steps: string[] = [];
    const cases = quickCases(allCases);
    const rows = await runChaos({
      cases,
      rounds: 1,
      sharesStages: true,
      executable: join(repository, 'dist/bin/vwire.js'),
      progress: (text) => void steps.push(text),
      signal: new AbortController().signal,
    });
    const wrong = rows.filter((row) => row.wrong.length > 0);
    expect(wrong, steps.join('\n')).toEqual([]);
    expect(rows.map(({ name, rounds }) => [name, rounds])).toEqual(
      cases.map(({ name }) => [name, 1]),
    );
  }, 600_000);
});
