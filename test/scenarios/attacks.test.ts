// Protects a mesh from those who prove too little or reach for what is not theirs, with real SVIDs, over mutual TLS and
// over a bus that proves nothing by itself: each attack is refused with the right code by a named rule, leaves exactly one line in the audit log, and changes
// nothing. And nothing that was logged meanwhile holds a token or a key.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asNsmError } from '../../protocols/errors.ts';
import {
  type NetworkServiceEndpoint,
  NetworkServiceEndpointQuerySchema,
  NetworkServiceEndpointRegistry,
  NetworkServiceEndpointSchema,
  NetworkServiceRegistry,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { Draining, DrainRequestSchema } from '../../protocols/nsm/gen/vwire_drain_pb.ts';
import { liveResources, noLeak } from '../contract/rpc.ts';
import { type Caller, callTimeoutMs, connectionOf, type Says, saying } from '../sandbox/callers.ts';
import { idOf, openOnBus, ProvenMesh, secretShape } from '../sandbox/proven-mesh.ts';

describe.each([
  ['over mutual TLS', () => Promise.resolve(new ProvenMesh())],
  ['over a bus', openOnBus],
])('%s', (_binding, open) => {
  let mesh: ProvenMesh;
  let before: Record<string, number>;

  beforeEach(async () => {
    before = liveResources();
    mesh = await open();
  });

  afterEach(async () => {
    for (const line of await mesh.end()) expect(line).not.toMatch(secretShape);
    await noLeak(before);
  });

  const registry = (): Promise<string> => mesh.registry();
  const manager = (): Promise<string> => mesh.manager();
  const endpoint = async (): Promise<string> => mesh.endpoint(await mesh.registry());
  const caller = (name: string): Promise<Caller> => mesh.caller(name);

  /** Runs an attack; returns how it was refused, which the audit log says in one line. */
  async function refused(attack: () => Promise<unknown>) {
    const known = mesh.denials().length;
    const outcome = await attack().then(
      () => undefined,
      (error: unknown) => asNsmError(error),
    );
    const lines = mesh.denials().slice(known);
    expect(lines, 'lines in the audit log').toHaveLength(1);
    const [line] = lines;
    expect(outcome?.details.rule).toBe(line?.rule);
    expect(outcome?.details.hop).toBe(line?.hop);
    return { code: outcome?.code, rule: line?.rule, peer: line?.peer };
  }

  describe('a Request that proves too little', () => {
    const attacks: readonly (readonly [string, string, (thief: Caller, honest: Caller) => Says])[] =
      [
        ['no token', 'tokens_valid', () => () => ({})],
        [
          'a token without signature',
          'tokens_valid',
          (thief) => (to) => saying(`${thief.token(to).split('.').slice(0, 2).join('.')}.`),
        ],
        ['an expired token', 'tokens_expired', (thief) => (to) => saying(thief.token(to, -5_000))],
        [
          'a token for another hop',
          'prev_token_audience',
          (thief) => () => saying(thief.token(idOf('nsmgr'))),
        ],
        [
          'a token for nobody',
          'prev_token_audience',
          (thief) => () => saying(thief.token(undefined)),
        ],
        ['a stolen token', 'prev_token_subject', (_, honest) => (to) => saying(honest.token(to))],
        [
          'an own token by another key',
          'prev_token_signed',
          (thief, honest) => (to) => saying(honest.forgedToken(thief.id, to)),
        ],
        [
          'a token longer than any',
          'tokens_valid',
          (thief) => (to) => saying(`${thief.token(to)}${'A'.repeat(20_000)}`),
        ],
      ];

    it.each(attacks)('%s', async (_, rule, says) => {
      const url = await endpoint();
      const [thief, honest] = [await caller('thief'), await caller('honest')];
      thief.say(says(thief, honest));
      const result = await refused(() =>
        thief.request(url, connectionOf([{ name: 'a', id: 'a' }])),
      );
      expect(result).toEqual({ code: 'PERMISSION_DENIED', rule, peer: thief.id });
      thief.say();
      expect(await thief.connections(url)).toEqual([]);
      await honest.request(url, connectionOf([{ name: 'b', id: 'b' }]));
      expect(await honest.connections(url)).toHaveLength(1);
    });

    it('a chain that breaks before the caller', async () => {
      const url = await endpoint();
      const [client, thief] = [await caller('nsc'), await caller('thief')];
      const stolen = client.token(idOf('nsmgr'));
      const path = [
        { name: 'nsc', id: 'nsc-0', token: stolen },
        { name: 'thief', id: 't' },
      ];
      const result = await refused(() => thief.request(url, connectionOf(path)));
      expect(result).toEqual({ code: 'PERMISSION_DENIED', rule: 'tokens_chained', peer: thief.id });
    });

    it('metadata beyond what a message may have, and others are served on', async () => {
      const url = await endpoint();
      const [thief, honest] = [await caller('thief'), await caller('honest')];
      thief.say((to) => ({ ...saying(thief.token(to)), 'x-more': 'A'.repeat(50_000) }));
      const result = await refused(() =>
        thief.request(url, connectionOf([{ name: 'a', id: 'a' }])),
      );
      expect(result).toMatchObject({ code: 'RESOURCE_EXHAUSTED', rule: 'header-bounds' });
      thief.say();
      expect(await thief.connections(url)).toEqual([]);
      await honest.request(url, connectionOf([{ name: 'b', id: 'b' }]));
    });
  });

  describe("somebody else's connection", () => {
    async function established() {
      const url = await endpoint();
      const [owner, thief] = [await caller('owner'), await caller('thief')];
      const made = await owner.request(url, connectionOf([{ name: 'fwd', id: 'fwd-1' }]));
      const id = made.path?.pathSegments[1]?.id ?? '';
      const stolen = connectionOf([{ name: 'thief', id: 't' }], [{ name: 'nse', id }]);
      const [kept] = await owner.connections(url, id);
      const unchanged = async () => expect(await owner.connections(url, id)).toEqual([kept]);
      return { url, owner, thief, made, id, stolen, unchanged };
    }

    it('is refused in a Request and in a Close', async () => {
      const { url, thief, stolen, unchanged } = await established();
      const denied = { code: 'PERMISSION_DENIED', rule: 'connection_owner', peer: thief.id };
      expect(await refused(() => thief.request(url, stolen))).toEqual(denied);
      await unchanged();
      expect(await refused(() => thief.close(url, stolen))).toEqual(denied);
      await unchanged();
    });

    it('is refused under the name of its hop', async () => {
      const { url, thief, id, unchanged } = await established();
      const posing = connectionOf([
        { name: 'fwd', id: 'fwd-1' },
        { name: 'nse', id },
      ]);
      const result = await refused(() => thief.request(url, posing));
      expect(result).toMatchObject({ code: 'PERMISSION_DENIED', rule: 'connection_owner' });
      await unchanged();
    });

    it("is not closed by its caller's id, which may be guessed", async () => {
      const { url, thief, unchanged } = await established();
      const path = [{ name: 'nsc', id: 'nsc-0', token: thief.token(thief.id) }];
      const guessed = connectionOf([...path, { name: 'fwd', id: 'fwd-1' }]);
      const result = await refused(() => thief.close(url, guessed));
      expect(result).toMatchObject({ code: 'PERMISSION_DENIED', rule: 'connection_owner' });
      await unchanged();
    });

    it('cannot be watched: refused by its id, left out where all are asked for', async () => {
      const { url, thief, id, owner } = await established();
      const result = await refused(() => thief.connections(url, id));
      expect(result).toEqual({
        code: 'PERMISSION_DENIED',
        rule: 'service_connection',
        peer: thief.id,
      });
      expect(await thief.connections(url)).toEqual([]);
      expect(await owner.connections(url)).toHaveLength(1);
    });

    it('is closed by its owner, whose token has expired', async () => {
      const { url, owner, made } = await established();
      owner.say((to) => saying(owner.token(to, -5_000)));
      const refusal = await refused(() => owner.request(url, made));
      expect(refusal).toMatchObject({ code: 'PERMISSION_DENIED', rule: 'tokens_expired' });
      await owner.close(url, made);
      owner.say();
      expect(await owner.connections(url)).toEqual([]);
    });

    it('goes on with a hop that replaces the one before', async () => {
      const url = await endpoint();
      const [client, forwarder, other] = await Promise.all(['nsc', 'fwd-1', 'fwd-2'].map(caller));
      if (client === undefined || forwarder === undefined || other === undefined) return;
      const first = (next: Caller) => ({ name: 'nsc', id: 'nsc-0', token: client.token(next.id) });
      const made = await forwarder.request(
        url,
        connectionOf([first(forwarder), { name: 'fwd-1', id: 'f1' }]),
      );
      const behind = made.path?.pathSegments.slice(2).map(({ name, id }) => ({ name, id })) ?? [];
      const moved = connectionOf([first(other), { name: 'fwd-2', id: 'f2' }], behind);
      const again = await other.request(url, moved);
      expect(again.path?.pathSegments[2]?.id).toBe(behind[0]?.id);
    });
  });

  describe("somebody else's name in a registry", () => {
    const server: NetworkServiceEndpoint = create(NetworkServiceEndpointSchema, {
      name: 'server-1',
      networkServiceNames: ['service'],
      url: 'tcp://10.0.0.1:5000',
    });
    const options = {
      timeoutMs: callTimeoutMs,
      headers: { path: '{"Index":0,"PathSegments":null}' },
    };
    const endpointsOf = (by: Caller, url: string) =>
      by.dial(url).client(NetworkServiceEndpointRegistry);
    async function found(by: Caller, url: string): Promise<readonly string[]> {
      const query = create(NetworkServiceEndpointQuerySchema, {
        networkServiceEndpoint: { name: 'server-1' },
      });
      const urls: string[] = [];
      for await (const { networkServiceEndpoint } of endpointsOf(by, url).find(query)) {
        urls.push(networkServiceEndpoint?.url ?? '');
      }
      return urls;
    }

    it.each([
      ['a registry', registry],
      ['a manager', manager],
    ])('is refused by %s in Register and Unregister, and left to its owner', async (_, serve) => {
      const url = await serve();
      const [owner, thief] = [await caller('owner'), await caller('thief')];
      await endpointsOf(owner, url).register(server, options);
      const [entry] = await found(owner, url);
      const stolen = { ...server, url: 'tcp://10.6.6.6:5000' };
      const denied = { code: 'PERMISSION_DENIED', rule: 'client_allowed', peer: thief.id };
      expect(await refused(() => endpointsOf(thief, url).register(stolen, options))).toEqual(
        denied,
      );
      expect(await refused(() => endpointsOf(thief, url).unregister(server, options))).toEqual(
        denied,
      );
      expect(await found(owner, url)).toEqual([entry]);
      await endpointsOf(owner, url).unregister(server, options);
      expect(await found(owner, url)).toEqual([]);
      await endpointsOf(thief, url).register(stolen, options);
      expect(await found(owner, url)).toEqual([stolen.url]);
    });

    it('is refused for a service, unless nothing would change', async () => {
      const url = await registry();
      const [owner, replica] = [await caller('nse-1'), await caller('nse-2')];
      const services = (by: Caller) => by.dial(url).client(NetworkServiceRegistry);
      const service = create(NetworkServiceSchema, { name: 'service', payload: 'IP' });
      await services(owner).register(service, options);
      const kept = await services(replica).register(service, options);
      expect(kept.pathIds).toEqual([owner.id, idOf('registry')]);
      const changed = { ...service, payload: 'ETHERNET' };
      expect(await refused(() => services(replica).register(changed, options))).toMatchObject({
        code: 'PERMISSION_DENIED',
        rule: 'client_allowed',
      });
    });

    it('answers with the path as the caller sees it, each token for the next hop', async () => {
      const url = await manager();
      const owner = await caller('nse-1');
      let answered = '';
      const registered = await endpointsOf(owner, url).register(server, {
        ...options,
        onHeaders: ({ path = '' }) => {
          answered = path;
        },
      });
      expect(registered.pathIds).toEqual([owner.id, idOf('nsmgr'), idOf('registry')]);
      const { Index, PathSegments } = JSON.parse(answered) as {
        Index: number;
        PathSegments: { token: string }[];
      };
      expect(Index).toBe(0);
      const claims = PathSegments.map(({ token }) => {
        const { sub, aud } = JSON.parse(
          Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
        ) as { sub: string; aud: string[] };
        return [sub, ...aud];
      });
      expect(claims).toEqual([
        [owner.id, idOf('nsmgr')],
        [idOf('nsmgr'), idOf('registry')],
        [idOf('registry'), idOf('nsmgr')],
      ]);
    });

    it.each([
      [
        'an expired token',
        (by: Caller): Says =>
          (to) =>
            saying(by.token(to, -5_000)),
        'tokens_expired',
      ],
      ['no token', (): Says => () => ({}), 'tokens_valid'],
    ])('is not given to %s', async (_, says, rule) => {
      const url = await registry();
      const thief = await caller('thief');
      thief.say(says(thief));
      const result = await refused(() => endpointsOf(thief, url).register(server, options));
      expect(result).toMatchObject({ code: 'PERMISSION_DENIED', rule });
      thief.say();
      expect(await found(thief, url)).toEqual([]);
    });
  });

  it('a manager lets nobody drain who is no operator', async () => {
    const url = await manager();
    const thief = await caller('thief');
    const drain = () =>
      thief
        .dial(url)
        .client(Draining)
        .drain(create(DrainRequestSchema, { node: 'node-1' }), { timeoutMs: callTimeoutMs });
    expect(await refused(drain)).toMatchObject({ code: 'PERMISSION_DENIED', rule: 'operator' });
  });
});
