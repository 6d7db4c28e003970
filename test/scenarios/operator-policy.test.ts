// Protects an operator's policy in WebAssembly at work: each operation that it judges is refused where it says so, after all
// other rules, with one line in the audit log and nothing changed; it is tried out as the access policy is; and a process
// that was told of one never serves without.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asNsmError, describeError } from '../../protocols/errors.ts';
import {
  NetworkServiceEndpointQuerySchema,
  NetworkServiceEndpointRegistry,
  NetworkServiceEndpointSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { liveResources, noLeak } from '../contract/rpc.ts';
import { type Caller, callTimeoutMs, connectionOf } from '../sandbox/callers.ts';
import { eventually } from '../sandbox/eventually.ts';
import { ProvenMesh, secretShape } from '../sandbox/proven-mesh.ts';
import { assemblePolicy, type WasmPolicy } from '../sandbox/wasm-policy.ts';

let mesh: ProvenMesh;
let before: Record<string, number>;

beforeEach(() => {
  before = liveResources();
  mesh = new ProvenMesh();
});

afterEach(async () => {
  for (const line of await mesh.end()) expect(line).not.toMatch(secretShape);
  await noLeak(before);
});

const no = { allow: false, reason: 'not on a Sunday' };

const put = (policy: WasmPolicy): void => mesh.writeOperatorPolicy(assemblePolicy(policy));

/** The Endpoint alone is judged: the registry was there before. */
async function endpointUnder(answers: WasmPolicy['answers']) {
  const registry = await mesh.registry();
  put({ answers });
  return { url: await mesh.endpoint(registry), caller: await mesh.caller('owner') };
}

const ask = (caller: Caller, url: string, name = 'fwd') =>
  caller.request(url, connectionOf([{ name, id: `${name}-1` }]));

const refusalOf = (attempt: Promise<unknown>) =>
  attempt.then(
    () => 'granted',
    (error: unknown) => {
      const { code, details } = asNsmError(error);
      return [code, details.hop, details.rule, details.found];
    },
  );

function denied(operation: string, rule: string): void {
  expect(mesh.denials()).toMatchObject([
    { operation, peer: expect.any(String), rule, found: no.reason },
  ]);
}

describe('refuses', () => {
  it('a Request', async () => {
    const { url, caller } = await endpointUnder({ 'vwire/request': no });
    const rule = 'policy_wasm/vwire/request';
    const refusal = await refusalOf(ask(caller, url));
    expect(refusal).toEqual(['PERMISSION_DENIED', 'nse', rule, no.reason]);
    denied('Request', rule);
    expect(await caller.connections(url)).toEqual([]);
  });

  it('a Close', async () => {
    const { url, caller } = await endpointUnder({ 'vwire/close': no, 'vwire/request': true });
    const made = await ask(caller, url);
    const rule = 'policy_wasm/vwire/close';
    const refusal = await refusalOf(caller.close(url, made));
    expect(refusal).toEqual(['PERMISSION_DENIED', 'nse', rule, no.reason]);
    denied('Close', rule);
    expect(await caller.connections(url)).toHaveLength(1);
  });

  it('MonitorConnections', async () => {
    const { url, caller } = await endpointUnder({ 'vwire/monitor': no });
    await ask(caller, url);
    const rule = 'policy_wasm/vwire/monitor';
    const refusal = await refusalOf(caller.connections(url));
    expect(refusal).toEqual(['PERMISSION_DENIED', 'nse', rule, no.reason]);
    denied('MonitorConnections', rule);
  });

  it('a Register, and an Unregister', async () => {
    put({ answers: { 'vwire/register': no } });
    const refusing = await mesh.registry();
    const caller = await mesh.caller('nse-1');
    const registryAt = (url: string) => caller.dial(url).client(NetworkServiceEndpointRegistry);
    const options = { timeoutMs: callTimeoutMs };
    const endpoint = create(NetworkServiceEndpointSchema, {
      name: 'nse-1',
      url: 'tcp://127.0.0.1:1',
      networkServiceNames: ['service'],
    });
    const rule = 'policy_wasm/vwire/register';
    const refusal = await refusalOf(registryAt(refusing).register(endpoint, options));
    expect(refusal).toEqual(['PERMISSION_DENIED', 'registry', rule, no.reason]);
    denied('Register', rule);
    put({ answers: { 'vwire/unregister': no } });
    await eventually('the new policy', 10_000, () =>
      expect(mesh.logged.filter((line) => /an operator policy was read/.test(line))).toHaveLength(
        2,
      ),
    );
    const registered = await registryAt(refusing).register(endpoint, options);
    const kept = await refusalOf(registryAt(refusing).unregister(registered, options));
    expect(kept).toEqual([
      'PERMISSION_DENIED',
      'registry',
      'policy_wasm/vwire/unregister',
      no.reason,
    ]);
    const query = create(NetworkServiceEndpointQuerySchema, {
      networkServiceEndpoint: { name: registered.name },
    });
    const found: string[] = [];
    for await (const { networkServiceEndpoint } of registryAt(refusing).find(query, options)) {
      found.push(networkServiceEndpoint?.name ?? '');
    }
    expect(found).toEqual([registered.name]);
  });
});

it('is asked with what the call says and proves, and without a token', async () => {
  const registry = await mesh.registry();
  put({ answers: { 'vwire/request': 0 }, does: 'echo' });
  const url = await mesh.endpoint(registry);
  const caller = await mesh.caller('owner');
  // The answer is the question, which a refusal shows the beginning of.
  const [code, hop, rule, found] = await refusalOf(ask(caller, url));
  expect([code, hop, rule]).toEqual(['PERMISSION_DENIED', 'nse', 'policy_wasm/vwire/request']);
  expect(found).toMatch(/^\{"operation":"Request","hop":"nse","self":"spiffe:\/\/home.test\/nse",/);
  expect(found).toContain(`"peer":"${caller.id}"`);
});

it('is not asked where another rule refuses', async () => {
  const { url, caller } = await endpointUnder({ 'vwire/request': no });
  caller.say(() => ({}));
  const [, , rule] = await refusalOf(ask(caller, url));
  expect(rule).toBe('tokens_valid');
});

it('only records what it would refuse while the access policy is tried out', async () => {
  mesh.writePolicy('mode: audit\n');
  const { url, caller } = await endpointUnder({ 'vwire/request': no });
  expect(await refusalOf(ask(caller, url))).toBe('granted');
  expect(mesh.denials()).toEqual([]);
  expect(mesh.audited().filter(({ decision }) => decision === 'would-deny')).toMatchObject([
    { operation: 'Request', peer: caller.id, rule: 'policy_wasm/vwire/request', found: no.reason },
  ]);
});

describe('the file', () => {
  it.each([
    ['is wrong', Buffer.from('package vwire'), 'found: neither of the two'],
    ['is not there', undefined, 'found: no such file'],
  ])('ends the start where it %s', async (_, bytes, text) => {
    put({ answers: {} });
    mesh.writeOperatorPolicy(bytes);
    const refusal = await mesh.registry().then(String, describeError);
    expect(refusal).toMatch(/VWIRE_POLICY_WASM/);
    expect(refusal).toContain(text);
  });

  it('is followed, and leaves the last good policy in force where it becomes wrong or goes', async () => {
    const { url, caller } = await endpointUnder({ 'vwire/request': true });
    expect(await refusalOf(ask(caller, url, 'first'))).toBe('granted');
    const said = (text: RegExp, times: number) =>
      eventually('it is noticed', 10_000, () =>
        expect(mesh.logged.filter((line) => text.test(line))).toHaveLength(times),
      );
    put({ answers: { 'vwire/request': no } });
    await said(/an operator policy was read/, 2);
    expect(await refusalOf(ask(caller, url, 'second'))).not.toBe('granted');
    mesh.writeOperatorPolicy(Buffer.from('nothing'));
    await said(/an operator policy is not used, the one before stays in force/, 1);
    expect(await refusalOf(ask(caller, url, 'third'))).not.toBe('granted');
    mesh.writeOperatorPolicy(undefined);
    await said(/an operator policy is not used, the one before stays in force/, 2);
    expect(await refusalOf(ask(caller, url, 'fourth'))).not.toBe('granted');
  });
});
