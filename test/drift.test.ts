// Protects what is generated and committed: protobuf code and the configuration page say what their sources say,
// and the lock file is complete.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { configurationPage } from '../bin/config/reference.ts';

const repository = join(import.meta.dirname, '..');

const readFolder = (folder: string) =>
  new Map(
    readdirSync(folder)
      .sort()
      .map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
  );

it('the generated protobuf code is what buf generates; `npm run gen` renews it', () => {
  const output = mkdtempSync(join(tmpdir(), 'vwire-gen-'));
  try {
    const buf = join(repository, 'node_modules/.bin/buf');
    execFileSync(buf, ['generate', '-o', output], { cwd: repository, stdio: 'pipe' });
    const committed = readFolder(join(repository, 'protocols/nsm/gen'));
    expect(committed).toEqual(readFolder(join(output, 'protocols/nsm/gen')));
  } finally {
    rmSync(output, { recursive: true, force: true });
  }
});

it('docs/configuration.md is generated from bin/config; `npm run docs` renews it', async () => {
  await expect(configurationPage()).toMatchFileSnapshot('../docs/configuration.md');
});

it('package-lock.json has a row for every optional package, which `npm ci` insists on', () => {
  const lock = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const missing = Object.entries(lock.packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) =>
        lock.packages[`node_modules/${name}`] === undefined &&
        lock.packages[`${path}/node_modules/${name}`] === undefined,
    ),
  );
  expect(missing).toEqual([]);
});
