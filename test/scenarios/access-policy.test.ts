// Protects an operator's policy at work: it is followed while the mesh runs, refuses or only records what it denies, and a
// file that is wrong leaves the last good one in force.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { asNsmError } from '../../protocols/errors.ts';
import { liveResources, noLeak } from '../contract/rpc.ts';
import { type Caller, connectionOf } from '../sandbox/callers.ts';
import { eventually } from '../sandbox/eventually.ts';
import { idOf, ProvenMesh, secretShape } from '../sandbox/proven-mesh.ts';

let mesh: ProvenMesh;
let before: Record<string, number>;
let url: string;
let friend: Caller;
let stranger: Caller;

beforeEach(async () => {
  before = liveResources();
  mesh = new ProvenMesh();
  url = await mesh.endpoint(await mesh.registry());
  [friend, stranger] = await Promise.all([mesh.caller('web'), mesh.caller('stranger')]);
});

afterEach(async () => {
  for (const line of await mesh.end()) expect(line).not.toMatch(secretShape);
  await noLeak(before);
});

const onlyWeb = `
default: deny
rules:
  - { name: web, effect: allow, clients: ['${idOf('web')}'], services: [service] }
`;

const ask = (by: Caller, name = by.id) => by.request(url, connectionOf([{ name, id: name }]));
const ruleOf = (asking: Promise<unknown>): Promise<string> =>
  asking.then(
    () => 'granted',
    (error: unknown) => asNsmError(error).details.rule ?? '',
  );

/** Both the Endpoint and the registry follow the file. */
async function put(policy: string, said: RegExp): Promise<void> {
  const known = mesh.logged.length;
  mesh.writePolicy(policy);
  await eventually('both have read it', 10_000, () => {
    const read = mesh.logged.slice(known).filter((line) => said.test(line));
    if (read.length < 2) throw new Error(mesh.logged.slice(known).join('\n'));
  });
}

it('refuses whom no rule lets in, and says which rule', async () => {
  expect(await ruleOf(ask(stranger))).toBe('granted');
  await put(onlyWeb, /a setting was read/);
  expect(await ruleOf(ask(friend))).toBe('granted');
  expect(await ruleOf(ask(stranger, 'again'))).toBe('access_policy/default');
  expect(mesh.denials()).toMatchObject([
    { operation: 'Request', peer: stranger.id, service: 'service', rule: 'access_policy/default' },
  ]);
}, 30_000);

it('only records what it would refuse while it is tried out', async () => {
  await put(`mode: audit\n${onlyWeb}`, /a setting was read/);
  expect(await ruleOf(ask(stranger))).toBe('granted');
  expect(mesh.denials()).toEqual([]);
  expect(mesh.audited().filter(({ decision }) => decision === 'would-deny')).toMatchObject([
    { operation: 'Request', peer: stranger.id, rule: 'access_policy/default' },
  ]);
}, 30_000);

it('stays as it was where a new one fails its own test', async () => {
  await put(onlyWeb, /a setting was read/);
  const wrong = `default: allow\ntests: [{ client: '${idOf('a')}', service: s, expect: deny }]\n`;
  await put(wrong, /is not used, what was read before stays in force.*a test of the access policy/);
  expect(await ruleOf(ask(stranger))).toBe('access_policy/default');
}, 30_000);

it('lets nobody speak for a client who is no hop', async () => {
  await put(`hops: ['${idOf('forwarder')}']\n`, /a setting was read/);
  const path = [
    { name: 'nsc', id: 'nsc-0', token: friend.token(stranger.id) },
    { name: 'stranger', id: 's' },
  ];
  expect(await ruleOf(stranger.request(url, connectionOf(path)))).toBe('hop_allowed');
  expect(await ruleOf(ask(stranger))).toBe('granted');
}, 30_000);
