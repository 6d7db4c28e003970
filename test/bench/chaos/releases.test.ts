// Protects the cases that change from the previous release: where it cannot be had they are skipped with the reason, a
// tree given by hand is used or refused by name, and nothing stays in the scratch folder.

import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { provideReleases } from '../../../bench/chaos/releases.ts';

const needs = new Set(['previous'] as const);
const progress = () => {};
let repository: string;
const temporary = process.env['TMPDIR'];

beforeEach(() => {
  repository = mkdtempSync(join(tmpdir(), 'vwire-no-history-'));
  const packageJson = { vwire: { previousRelease: '0123456789abcdef' } };
  writeFileSync(join(repository, 'package.json'), JSON.stringify(packageJson));
  mkdirSync(join(repository, 'scratch'));
  process.env['TMPDIR'] = join(repository, 'scratch');
});

afterEach(() => {
  if (temporary === undefined) delete process.env['TMPDIR'];
  else process.env['TMPDIR'] = temporary;
  rmSync(repository, { recursive: true, force: true });
});

const inScratch = () => readdirSync(join(repository, 'scratch'));

test('without the history there is no previous release, and it is said why', async () => {
  const releases = await provideReleases({ needs, repository, progress });
  expect(releases.others).toEqual({});
  expect(releases.whyNoPrevious).toMatch(/^the history here does not have 0123456789abcdef \(/);
  releases.end();
  expect(inScratch()).toEqual([]);
});

test('a compiled tree is taken as the previous release', async () => {
  const tree = join(repository, 'tree');
  mkdirSync(join(tree, 'dist/bin'), { recursive: true });
  writeFileSync(join(tree, 'dist/bin/vwire.js'), '');
  const releases = await provideReleases({ needs, repository, previousDir: tree, progress });
  expect(releases.others).toEqual({ previous: join(tree, 'dist/bin/vwire.js') });
  expect(releases.whyNoPrevious).toBeUndefined();
  releases.end();
});

test('a tree that is not compiled is refused by name', async () => {
  const wanted = { needs, repository, previousDir: repository, progress };
  await expect(provideReleases(wanted)).rejects.toThrow(
    `expected a compiled tree with ${join(repository, 'dist/bin/vwire.js')}`,
  );
  expect(inScratch()).toEqual([]);
});
