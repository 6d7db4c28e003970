// Protects those who bring policies in Rego: what OPA compiles of them decides here as it says, with its documents, within
// its bounds. Needs OPA's program (VWIRE_OPA, its path); without it what must hold of any module is in
// operator-policy.test.ts.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PolicyQuestion } from '../../../protocols/authorization/operator-policy.ts';
import { describeError } from '../../../protocols/errors.ts';
import type { OperatorPolicy } from '../../../protocols/ports/operator-policy.ts';
import { operatorPolicyFrom } from '../../../transports/policy-wasm/operator-policy.ts';
import { readPolicyBytes } from '../../../transports/policy-wasm/policy-bytes.ts';

const opa = process.env['VWIRE_OPA'];
const folder = join(import.meta.dirname, 'policies');
const skipped = opa === undefined ? ' (skipped: VWIRE_OPA is unset)' : '';

let made: string;

beforeEach(() => {
  made = mkdtempSync(join(tmpdir(), 'vwire-opa-'));
});

afterEach(() => rmSync(made, { recursive: true, force: true }));

/** The bundle that OPA makes of them. */
function compiled(files: readonly string[], operations: readonly string[]): Uint8Array {
  const bundle = join(made, 'bundle.tar.gz');
  const entrypoints = operations.flatMap((each) => ['-e', `vwire/${each}`]);
  const sources = files.map((file) => join(folder, file));
  execFileSync(opa ?? '', ['build', '-t', 'wasm', ...entrypoints, '-o', bundle, ...sources], {
    stdio: 'pipe',
  });
  return readFileSync(bundle);
}

const client = 'spiffe://home.test/db';
const question: PolicyQuestion = {
  operation: 'Request',
  hop: 'nsmgr',
  self: 'spiffe://home.test/nsmgr',
  peer: client,
  client,
  time: 1_700_000_000,
  path: [
    { sub: client, aud: ['spiffe://home.test/nsmgr'], exp: 1_700_000_600 },
    { sub: 'spiffe://home.test/nsmgr', aud: ['spiffe://home.test/registry'], exp: 1_700_000_600 },
  ],
};

describe.skipIf(opa === undefined)(`a policy that OPA compiled${skipped}`, () => {
  const all = ['request', 'close', 'register', 'unregister', 'monitor'];
  const teams = (): OperatorPolicy =>
    operatorPolicyFrom(compiled(['teams.rego', 'teams.json'], all));

  it('decides each operation by what it is told, and by its documents', () => {
    const policy = teams();
    const found = (more: Partial<PolicyQuestion>) => policy.judge({ ...question, ...more })?.found;
    const labels = { team: 'web' };
    expect(found({ service: 'db', labels })).toBeUndefined();
    expect(found({ service: 'mail', labels })).toBe('no team may use it');
    expect(found({ service: 'db', labels: { ...labels, quarantined: 'yes' } })).toBe(
      'spiffe://home.test/db is quarantined',
    );
    expect(found({ operation: 'Close' })).toBeUndefined();
    expect(found({ operation: 'Close', peer: 'spiffe://other.test/a' })).toBe('false');
    const offers = [{ service: 'db', labels: {} }];
    expect(found({ operation: 'Register', offers })).toBeUndefined();
    expect(found({ operation: 'Register', offers, client: 'spiffe://home.test/web' })).toBe(
      'false',
    );
    expect(found({ operation: 'MonitorConnections', connectionIds: ['a'] })).toBeUndefined();
    expect(found({ operation: 'MonitorConnections', connectionIds: [] })).toBe('false');
    expect(found({ operation: 'Unregister' })).toBeUndefined();
    expect(found({ operation: 'Unregister', path: question.path.slice(1) })).toBe('false');
  });

  it('is the same without its bundle, but for the documents', () => {
    const { module } = readPolicyBytes(compiled(['teams.rego', 'teams.json'], all));
    const policy = operatorPolicyFrom(module);
    expect(policy.judge({ ...question, operation: 'Close' })).toBeUndefined();
    expect(policy.judge({ ...question, service: 'db', labels: { team: 'web' } })?.found).toBe(
      'no team may use it',
    );
  });

  it('decides thousands of times in the same memory', () => {
    const policy = teams();
    for (let time = 0; time < 5_000; time += 1) {
      const labels = { team: 'web', ['x'.repeat(time % 500)]: 'y'.repeat(500) };
      expect(policy.judge({ ...question, service: 'db', labels })).toBeUndefined();
    }
  });

  it.each([
    ['that counts beyond what anybody waits for', 'endless.rego'],
    ['that keeps more than it may have', 'greedy.rego'],
  ])('%s is given up, and again', (_, file) => {
    const policy = operatorPolicyFrom(compiled([file], ['request']));
    const found = /^(a failure: opa_malloc: failed|none within 200 ms)$/;
    for (let time = 0; time < 2; time += 1) expect(policy.judge(question)?.found).toMatch(found);
  });

  it('is refused where it would reach out', () => {
    let refusal: unknown;
    try {
      operatorPolicyFrom(compiled(['reaching-out.rego'], ['request']));
    } catch (error) {
      refusal = error;
    }
    expect(describeError(refusal)).toMatch(/expected: built-in functions that OPA compiles/);
    expect(describeError(refusal)).toMatch(/found: (?=.*http\.send)(?=.*time\.now_ns)/);
  });
});
