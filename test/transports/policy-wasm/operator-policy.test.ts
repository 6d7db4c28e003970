// Protects a process that was given a policy in WebAssembly: it allows what the policy allows and nothing else, whatever the
// policy answers or does, for a bounded time and within a bounded memory; and a file that cannot do that is refused at once,
// with what is wrong. The modules are assembled here; those that OPA makes are tried in compiled-policies.test.ts.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type {
  PolicyOperation,
  PolicyQuestion,
} from '../../../protocols/authorization/operator-policy.ts';
import { describeError, NsmError } from '../../../protocols/errors.ts';
import { operatorPolicyFrom } from '../../../transports/policy-wasm/operator-policy.ts';
import { policyBytesMax, readPolicyBytes } from '../../../transports/policy-wasm/policy-bytes.ts';
import {
  evaluationMs,
  inputBytesMax,
  memoryPages,
  PolicyModule,
} from '../../../transports/policy-wasm/policy-module.ts';
import { assemblePolicy, bundleOf, type WasmPolicy } from '../../sandbox/wasm-policy.ts';

const questionOf = (operation: PolicyOperation = 'Request'): PolicyQuestion => ({
  operation,
  hop: 'nse',
  self: 'spiffe://home.test/nse',
  peer: 'spiffe://home.test/forwarder',
  client: 'spiffe://home.test/nsc',
  service: 'dünn',
  labels: { tier: 'gold' },
  connectionId: 'c-1',
  time: 1_700_000_000.5,
  path: [
    { sub: 'spiffe://home.test/nsc', aud: ['spiffe://home.test/nsmgr'], exp: 1_700_000_600 },
    {},
  ],
});

const policyOf = (policy: WasmPolicy) => operatorPolicyFrom(assemblePolicy(policy));
const answering = (answer: unknown) =>
  policyOf({ answers: { 'vwire/request': answer } }).judge(questionOf());

describe('an answer', () => {
  it.each([[true], [{ allow: true }], [{ allow: true, reason: 'anything' }]])(
    'of yes lets the call pass: %j',
    (answer) => expect(answering(answer)).toBeUndefined(),
  );

  it.each([
    [false, 'false'],
    [{ allow: false }, '{"allow":false}'],
    [{ allow: false, reason: 'not\non a Sunday' }, 'not on a Sunday'],
  ])('of no refuses it: %j', (answer, found) => {
    expect(answering(answer)).toEqual({
      rule: 'policy_wasm/vwire/request',
      expected: 'a call that the policy of the operator allows',
      found,
    });
  });

  it.each([
    [undefined, 'no value'],
    [null, 'null'],
    ['true', '"true"'],
    [1, '1'],
    [[], '[]'],
    [[true], '[true]'],
    [{}, '{}'],
    [{ allow: 'yes' }, '{"allow":"yes"}'],
    [{ allowed: true }, '{"allowed":true}'],
    ['x'.repeat(600), `"${'x'.repeat(199)}`],
  ])('that is neither refuses it, and says what it was: %j', (answer, found) => {
    expect(answering(answer)).toEqual({
      rule: 'policy_wasm/vwire/request',
      expected: 'true, false, or { allow, reason } of the policy of the operator',
      found,
    });
  });
});

describe('a policy', () => {
  it('judges the operations that it has an entrypoint for, each by its own', () => {
    const policy = policyOf({
      answers: { 'other/rule': false, 'vwire/close': true, 'vwire/monitor': false },
    });
    const operations = [
      'Request',
      'Close',
      'Register',
      'Unregister',
      'MonitorConnections',
    ] as const;
    expect(operations.filter((each) => policy.judges(each))).toEqual([
      'Close',
      'MonitorConnections',
    ]);
    expect(policy.judge(questionOf('Close'))).toBeUndefined();
    expect(policy.judge(questionOf('MonitorConnections'))?.rule).toBe('policy_wasm/vwire/monitor');
  });

  it('gets the question as it is', () => {
    const module = new PolicyModule(
      readPolicyBytes(assemblePolicy({ answers: { 'vwire/request': 0 }, does: 'echo' })),
    );
    expect(module.evaluate('vwire/request', questionOf())).toEqual(questionOf());
  });

  it('that comes in a bundle is the same', () => {
    const module = assemblePolicy({ answers: { 'vwire/request': true } });
    const bundle = bundleOf({
      '/data.json': '{"a":1}',
      '/policy.wasm': module,
      '/.manifest': '{}',
    });
    expect(operatorPolicyFrom(bundle).judge(questionOf())).toBeUndefined();
  });

  it.each([
    ['that never ends', 'loop', `none within ${evaluationMs} ms`],
    ['that gives up', 'abort', 'a failure: given up'],
    ['that runs into a trap', 'trap', 'a failure: unreachable'],
  ] as const)('%s refuses, and again', (_, does, found) => {
    const policy = policyOf({ answers: { 'vwire/request': true }, does });
    for (let time = 0; time < 2; time += 1) {
      expect(policy.judge(questionOf())).toEqual({
        rule: 'policy_wasm/vwire/request',
        expected: 'a decision of the policy of the operator',
        found,
      });
    }
  });

  it('is not asked about more than it can hold', () => {
    const policy = policyOf({ answers: { 'vwire/request': true } });
    const question = { ...questionOf(), labels: { big: 'x'.repeat(inputBytesMax) } };
    expect(policy.judge(question)?.found).toMatch(/^a failure: the call makes \d+ bytes of input/);
    expect(policy.judge(questionOf())).toBeUndefined();
  });

  it('may have all the memory that there is for one', () => {
    const policy = policyOf({ answers: { 'vwire/request': true }, pages: memoryPages });
    expect(policy.judge(questionOf())).toBeUndefined();
  });

  it('may want the functions that are offered', () => {
    const builtins = ['json.is_valid', 'regex.split', 'sprintf'];
    expect(policyOf({ answers: { 'vwire/request': true }, builtins }).judges('Request')).toBe(true);
  });
});

describe('a file', () => {
  const answers = { 'vwire/request': true };
  const whole = assemblePolicy({ answers });

  it.each([
    ['that is empty', new Uint8Array(0), 'found: neither of the two'],
    ['of text', Buffer.from('package vwire'), 'found: neither of the two'],
    ['that is cut off', whole.subarray(0, -20), 'expected: a module of WebAssembly;'],
    [
      'that is another module',
      Buffer.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]),
      'a module without opa_wasm_abi_version, opa_wasm_abi_minor_version, builtins,',
    ],
    [
      'that lacks an export',
      assemblePolicy({ answers, without: ['opa_eval'] }),
      'a module without opa_eval',
    ],
    ['of ABI 2', assemblePolicy({ answers, abi: [2, 0] }), 'found: unsupported ABI version 2'],
    ['of ABI 1.1', assemblePolicy({ answers, abi: [1, 1] }), 'found: ABI 1.1'],
    [
      'that wants too much memory',
      assemblePolicy({ answers, pages: memoryPages + 1 }),
      'expected: a policy that does with 256 pages of memory (16 MiB)',
    ],
    [
      'that wants functions which are not offered',
      assemblePolicy({ answers, builtins: ['sprintf', 'http.send', 'time.now_ns'] }),
      'found: http.send, time.now_ns',
    ],
    ['without an entrypoint', assemblePolicy({ answers: {} }), 'found: none'],
    ['without one of ours', assemblePolicy({ answers: { 'a/allow': true } }), 'found: a/allow'],
    [
      'with a misspelt one',
      assemblePolicy({ answers: { ...answers, 'vwire/requests': true } }),
      'found: vwire/requests',
    ],
    ['that is a broken bundle', bundleOf({ '/policy.wasm': whole }).subarray(0, 60), 'a bundle of'],
    ['that is an empty bundle', bundleOf({}), 'found: one with no file'],
    ['that is a bundle of Rego', bundleOf({ '/a.rego': 'package a' }), 'found: one with a.rego'],
    [
      'whose data are none',
      bundleOf({ '/policy.wasm': whole, '/data.json': '[' }),
      'expected: a document in data.json',
    ],
    [
      'that becomes too large',
      bundleOf({ '/data.json': Buffer.alloc(policyBytesMax + 1) }),
      `expected: a bundle of at most ${policyBytesMax} bytes`,
    ],
  ])('%s is refused', (_, bytes, text) => {
    let refusal: unknown;
    try {
      operatorPolicyFrom(bytes);
    } catch (error) {
      refusal = error;
    }
    expect(describeError(refusal)).toMatch(/^INVALID_ARGUMENT: the policy cannot be used/);
    expect(describeError(refusal)).toContain(text);
  });

  it('of any bytes is refused in the same way, or judges', () => {
    const bundle = bundleOf({ '/policy.wasm': whole, '/data.json': '{}' });
    const change = fc.record({ at: fc.nat(), byte: fc.nat(255) });
    const bytes = fc
      .tuple(fc.constantFrom(whole, bundle), fc.array(change, { maxLength: 4 }), fc.nat())
      .map(([original, changes, cut]) => {
        const changed = Uint8Array.from(original);
        for (const { at, byte } of changes) changed[at % changed.length] = byte;
        return changes.length > 2 ? changed.subarray(0, cut % changed.length) : changed;
      });
    fc.assert(
      fc.property(bytes, (file) => {
        try {
          operatorPolicyFrom(file).judge(questionOf());
        } catch (error) {
          expect(error).toBeInstanceOf(NsmError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
