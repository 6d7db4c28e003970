// Protects how a role proves itself: tokens for whom they go to and no longer than its certificate, itself as the peer
// of calls inside its process, no start without an identity, and where the parts of a mesh get theirs from.

import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { afterEach, expect, it } from 'vitest';
import { nodeRoles } from '../../../bin/roles/node-roles.ts';
import { obtainIdentity } from '../../../bin/roles/own-identity.ts';
import { partIdentities } from '../../../bin/roles/part-identities.ts';
import { createPlatform } from '../../../bin/roles/platform.ts';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import type { CallContext } from '../../../protocols/ports/rpc.ts';
import { serve } from '../../../protocols/ports/rpc.ts';
import { renewed, TestIdentities } from '../../sandbox/identities.ts';

const log = silentLog;
const cleanUps: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

function identities(svidLifetimeMs = 3_600_000): TestIdentities {
  const made = new TestIdentities({ svidLifetimeMs });
  cleanUps.push(() => made.close());
  return made;
}

it.each([
  ['the configured life where the certificate lives longer', 3_600_000, 60_000, 60_000],
  ['the life of the certificate where that is shorter', 30_000, 600_000, 30_000],
  ['a life that is over where it is so configured', 3_600_000, -60_000, -60_000],
])('a token lives for %s', async (_, svidLifetimeMs, maxTokenLifetimeMs, lifeMs) => {
  const endpoint = await identities(svidLifetimeMs).socketOf('nsmgr');
  const own = await obtainIdentity({ endpoint, maxTokenLifetimeMs, log });
  cleanUps.push(() => own.identity.close());
  const headers = own.callHeaders.make({ spiffeId: 'spiffe://home.test/nse' });
  expect(Object.keys(headers)).toEqual(own.callHeaders.names);
  const leaf = own.peer().leaf ?? new Uint8Array();
  const token = own.identity.verifyPathToken(headers['nsm-client-token'] ?? '', leaf);
  expect(token).toMatchObject({
    subject: 'spiffe://home.test/nsmgr',
    audience: ['spiffe://home.test/nse'],
  });
  expect(Date.parse(headers['nsm-client-token-expires'] ?? '')).toBe(token.expiresAtMs);
  const end = Date.now() + lifeMs;
  expect(token.expiresAtMs).toBeLessThanOrEqual(end);
  // Whole seconds, and what an SVID was issued before the test looked.
  expect(token.expiresAtMs).toBeGreaterThan(end - 20_000);
});

it('a token ends where trust in whom it is for does, and says as before who signed it', async () => {
  const endpoint = await identities().socketOf('nsmgr');
  const own = await obtainIdentity({ endpoint, maxTokenLifetimeMs: 600_000, log });
  cleanUps.push(() => own.identity.close());
  const trustedUntilMs = Date.now() + 7_500;
  const nse = { spiffeId: 'spiffe://home.test/nse', trustedUntilMs };
  const { 'nsm-client-token-expires': said = '', 'nsm-client-token': token = '' } =
    own.callHeaders.make(nse);
  expect(Date.parse(said)).toBe(trustedUntilMs);
  const inSegment = await own.tokens.token(nse);
  expect(inSegment.expiresAtEpochMs).toBe(trustedUntilMs);
  const claims = own.identity.verifyPathToken(token, own.peer().leaf ?? new Uint8Array());
  expect(claims.expiresAtMs).toBeGreaterThan(trustedUntilMs);
});

it('inside a process both ends are the process itself, also after a renewal', async () => {
  const home = identities();
  const workloadApi = await home.socketOf('up');
  const platform = await createPlatform({
    name: 'up',
    log,
    natsUrl: undefined,
    insecure: false,
    workloadApi,
  });
  cleanUps.push(() => platform.stop(1_000));
  const contexts: CallContext[] = [];
  const listening = await platform.listener.listen('memory:here', [
    serve(NetworkService, {
      request: (_, context) => {
        contexts.push(context);
        return Promise.resolve(create(ConnectionSchema));
      },
      close: () => Promise.resolve(create(EmptySchema)),
    }),
  ]);
  cleanUps.push(() => listening.close(0));
  const client = platform.dialer.dial('memory:here').client(NetworkService);
  const request = create(NetworkServiceRequestSchema);
  await client.request(request, { timeoutMs: 5_000 });
  const { identity } = platform;
  if (identity === undefined) throw new Error('no identity');
  await renewed(identity, () => home.server.rotateSvids());
  await client.request(request, { timeoutMs: 5_000, headers: { 'nsm-client-token': 'old' } });
  for (const { peer, headers } of contexts) {
    expect(peer).toMatchObject({ binding: 'memory', spiffeId: 'spiffe://home.test/up' });
    const token = headers['nsm-client-token'] ?? '';
    const { audience } = identity.verifyPathToken(token, peer.leaf ?? new Uint8Array());
    expect(audience).toEqual(['spiffe://home.test/up']);
  }
  expect(contexts[0]?.peer.leaf).not.toEqual(contexts[1]?.peer.leaf);
});

it('a role does not start without an identity, and says what to set', async () => {
  const start = createPlatform({ name: 'nsmgr', log, natsUrl: undefined, insecure: false });
  await expect(start).rejects.toMatchObject({
    code: 'FAILED_PRECONDITION',
    details: { rule: 'SPIFFE_ENDPOINT_SOCKET' },
  });
});

it('each part has an identity of its own from a development server, the one that is named from SPIRE', () => {
  const of = (environment: NodeJS.ProcessEnv, insecure = false) =>
    partIdentities({ insecure, stateDir: '/state', log, environment });
  // Whoever asks with a command, unless somebody else was named.
  const operators = { VWIRE_OPERATORS: 'spiffe://vwire.local/operator' };
  const own = of({});
  expect(own.phases).toHaveLength(1);
  expect(own.of('nsmgr')).toEqual({
    SPIFFE_ENDPOINT_SOCKET: 'unix:///state/identity/nsmgr.sock',
    ...operators,
  });
  expect(own.handedOn).toEqual({ VWIRE_IDENTITY_DIR: '/state/identity', ...operators });
  const child = of(own.handedOn);
  expect([child.phases, child.of('forwarder')]).toEqual([
    [],
    { SPIFFE_ENDPOINT_SOCKET: 'unix:///state/identity/forwarder.sock', ...operators },
  ]);
  const spire = of({ SPIFFE_ENDPOINT_SOCKET: 'unix:///spire.sock', ...own.handedOn });
  expect([spire.phases, spire.of('nsmgr'), spire.handedOn]).toEqual([
    [],
    { SPIFFE_ENDPOINT_SOCKET: 'unix:///spire.sock' },
    { SPIFFE_ENDPOINT_SOCKET: 'unix:///spire.sock' },
  ]);
  const plain = of({}, true);
  expect([plain.phases, plain.of('nsmgr')]).toEqual([[], { VWIRE_INSECURE: 'true' }]);
});

it('without a bus the parts of a node meet on unix sockets and nodes by TCP', () => {
  const { nsmgr, forwarder, urls } = nodeRoles({
    node: 'n',
    domain: 'd',
    stateDir: '/state',
    withoutBus: { address: '10.0.0.1', registryUrl: 'tcp://10.0.0.9:5002' },
  });
  expect(urls).toEqual(['unix:///state/nsm.io.sock', 'tcp://10.0.0.1:5001']);
  expect(nsmgr).toMatchObject({
    NSM_LISTEN_ON: urls.join(','),
    NSM_REGISTRY_URL: 'tcp://10.0.0.9:5002',
  });
  expect(forwarder).toMatchObject({
    NSM_LISTEN_ON: 'unix:///state/forwarder.sock',
    NSM_CONNECT_TO: 'unix:///state/nsm.io.sock',
  });
});
