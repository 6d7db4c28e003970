// Protects what is in force while its file changes: a missing file is the absent value, a broken one changes nothing
// and is reported once, and the next good one is taken.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { followExcludedPrefixes } from '../../../bin/roles/excluded-prefixes.ts';
import type { FollowedFile } from '../../../bin/roles/followed-file.ts';
import { type Log, silentLog } from '../../../protocols/ports/log.ts';
import { eventually } from '../../sandbox/eventually.ts';

let directory = '';
let path = '';
let errors: unknown[] = [];
let followed: FollowedFile<readonly string[]> | undefined;
const log: Log = { ...silentLog, error: (_, fields) => void errors.push(fields?.['error']) };

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'vwire-followed-'));
  path = join(directory, 'excluded_prefixes.yaml');
  errors = [];
});

afterEach(() => {
  followed?.stop();
  rmSync(directory, { recursive: true, force: true });
});

it('excluded prefixes are followed: none, some, the last good ones, none again', async () => {
  followed = followExcludedPrefixes(path, log);
  const { value } = followed;
  expect(value).toEqual([]);
  const becomes = (wanted: readonly string[]) =>
    eventually('the file is read', 10_000, () => expect(followed?.value).toEqual(wanted));

  writeFileSync(path, 'prefixes: [10.0.0.0/8]\n');
  await becomes(['10.0.0.0/8']);
  writeFileSync(path, 'prefixes: [10.0.0.0/8, nonsense]\n');
  await eventually('the mistake is reported', 10_000, () => expect(errors).toHaveLength(1));
  expect(errors[0]).toMatch(/^INVALID_ARGUMENT: .*line 1, prefixes\.1.*found: "nonsense"/);
  expect(followed.value).toEqual(['10.0.0.0/8']);
  writeFileSync(path, 'prefixes: [fd00::/8]\n');
  await becomes(['fd00::/8']);
  rmSync(path);
  await becomes([]);
  expect(errors).toHaveLength(1);
});

it('a file that is broken at the start excludes nothing, and says so', () => {
  writeFileSync(path, '{');
  followed = followExcludedPrefixes(path, log);
  expect(followed.value).toEqual([]);
  expect(errors).toEqual([
    expect.stringMatching(/^INVALID_ARGUMENT: the file of excluded prefixes/),
  ]);
});
