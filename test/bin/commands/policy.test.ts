// Protects whoever tries out a policy before a mesh has it: `vwire policy test` runs its tests as a role would decide, says
// which fail and why, and its exit code tells a script.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { vwire } from '../../sandbox/up.ts';
import { assemblePolicy } from '../../sandbox/wasm-policy.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vwire-policy-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function tried(document: string, wasm?: Uint8Array) {
  const [node, ...args] = vwire;
  const file = join(folder, 'tests.yaml');
  writeFileSync(file, document);
  const policy = join(folder, 'policy.wasm');
  if (wasm !== undefined) writeFileSync(policy, wasm);
  const how = wasm === undefined ? [] : ['--wasm', policy];
  return spawnSync(node, [...args, 'policy', 'test', file, '-o', 'json', ...how], {
    encoding: 'utf8',
  });
}

const results = (stdout: string): unknown => JSON.parse(stdout);

it('runs those of an access policy', () => {
  const { stdout, stderr, status } = tried(
    'default: deny\ntests:\n  - { client: spiffe://a/b, service: s, expect: allow }\n',
  );
  expect(results(stdout)).toMatchObject([
    { isPassed: false, line: 3, effect: 'deny', by: 'default' },
  ]);
  expect(stderr).toContain('1 tests, 1 failed');
  expect(status).toBe(1);
});

it('runs those of a document against a policy in WebAssembly', () => {
  const wasm = assemblePolicy({ answers: { 'vwire/request': { allow: false, reason: 'closed' } } });
  const { stdout, stderr, status } = tried(
    [
      'tests:',
      '  - { operation: Request, client: spiffe://a/b, service: s, expect: deny }',
      '  - { operation: Close, client: spiffe://a/b, connectionId: c, expect: allow }',
    ].join('\n'),
    wasm,
  );
  expect(results(stdout)).toMatchObject([
    { isPassed: true, line: 2, effect: 'deny', by: 'vwire/request: closed' },
    { isPassed: true, line: 3, effect: 'allow', by: 'default, without vwire/close' },
  ]);
  expect(stderr).toContain('2 tests, 0 failed');
  expect(status).toBe(0);
});

it('says what is wrong with the policy', () => {
  const { stderr, status } = tried('tests: []', Buffer.from('package vwire'));
  expect(stderr).toContain('expected: a module of WebAssembly, or a bundle with one');
  expect(status).not.toBe(0);
});
