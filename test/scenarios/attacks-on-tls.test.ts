// Protects a mesh from those whose certificates prove nothing, over real mutual TLS: each is refused before any call of
// theirs is read, leaves exactly one line in the audit log that names the rule, and changes nothing.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { asNsmError } from '../../protocols/errors.ts';
import { liveResources, noLeak } from '../contract/rpc.ts';
import { connectionOf } from '../sandbox/callers.ts';
import { caOf, type Forged, forgedBy, times } from '../sandbox/forged-identities.ts';
import { TestIdentities } from '../sandbox/identities.ts';
import { idOf, ProvenMesh, secretShape } from '../sandbox/proven-mesh.ts';
import { makeCa } from '../transports/spiffe-ts/pki.ts';

let mesh: ProvenMesh;
let away: TestIdentities;
let before: Record<string, number>;

beforeEach(() => {
  before = liveResources();
  mesh = new ProvenMesh();
  away = new TestIdentities({ trustDomain: 'away.test' });
  mesh.identities.server.federate('away.test', away.server.bundle());
  away.server.federate('home.test', mesh.identities.server.bundle());
});

afterEach(async () => {
  for (const line of await mesh.end()) expect(line).not.toMatch(secretShape);
  await away.close();
  await noLeak(before);
});

const attacks: readonly (readonly [string, () => Forged, RegExp])[] = [
  [
    'a foreign trust domain',
    () => ({ ca: makeCa(times()), uri: 'spiffe://x.test/a' }),
    /^trust-bundle$/,
  ],
  [
    'a chain that is broken: a CA of nobody that signs our ids',
    () => ({ ca: makeCa(times()) }),
    /^chain$/,
  ],
  ['a federated CA that signs our ids', () => ({ ca: caOf(away.server) }), /^chain$/],
  ['a wrong SAN', () => ({ uri: 'https://home.test/a' }), /^spiffe-id-scheme$/],
  ['no SAN', () => ({ uris: [] }), /^svid-uri$/],
  ['two SANs', () => ({ uris: [idOf('a'), idOf('b')] }), /^svid-uri$/],
  ['an expired SVID', () => ({ notAfterMs: Date.now() - 1_000 }), /^(?:expired|validity)$/],
];

it.each(attacks)('is refused: %s', async (_, forged, rule) => {
  const url = await mesh.endpoint(await mesh.registry());
  const honest = await mesh.caller('honest');
  const ca = caOf(mesh.identities.server);
  const thief = await mesh.callerAs(forgedBy(honest.identity, { ca, ...forged() }));
  const request = () => thief.request(url, connectionOf([{ name: 'a', id: 'a' }]));
  const refusals = [];
  // Coming again changes nothing, not even the log.
  for (let attempt = 0; attempt < 2; attempt += 1) {
    refusals.push(
      await request().then(
        () => 'served',
        (error: unknown) => asNsmError(error).code,
      ),
    );
  }
  expect(refusals).toEqual(['UNAVAILABLE', 'UNAVAILABLE']);
  expect(mesh.denials()).toEqual([
    expect.objectContaining({
      operation: 'Connect',
      hop: 'nse',
      self: idOf('nse'),
      rule: expect.stringMatching(rule) as string,
    }),
  ]);
  expect(mesh.audited().filter(({ operation }) => operation === 'Request')).toEqual([]);
  await honest.request(url, connectionOf([{ name: 'b', id: 'b' }]));
  expect(await honest.connections(url)).toHaveLength(1);
});
