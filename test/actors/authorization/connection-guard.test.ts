// Protects a caller from a renewal at its next hop: what it is answered is signed with the key that it knows that hop by,
// also when the hop has a newer one and has used that towards the hop behind. And the memory of a hop from connections that
// have come and gone.

import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { afterEach, expect, it } from 'vitest';
import { AuditTrail } from '../../../actors/authorization/audit-trail.ts';
import { Authority } from '../../../actors/authorization/authority.ts';
import { guardNetworkService } from '../../../actors/authorization/connection-guard.ts';
import { obtainIdentity, type OwnIdentity } from '../../../bin/roles/own-identity.ts';
import { openPolicy } from '../../../protocols/authorization/access-policy.ts';
import { TokenReader } from '../../../protocols/authorization/read-tokens.ts';
import { timestampToEpochMs } from '../../../protocols/nsm/expiry.ts';
import type { Connection } from '../../../protocols/nsm/gen/connection_pb.ts';
import { NetworkServiceRequestSchema } from '../../../protocols/nsm/gen/networkservice_pb.ts';
import { withSegment } from '../../../protocols/nsm/path.ts';
import type { AuditRecord } from '../../../protocols/ports/audit.ts';
import type { Identity } from '../../../protocols/ports/identity.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import type { CallContext } from '../../../protocols/ports/rpc.ts';
import { systemClock, systemWallClock } from '../../../transports/process/system-clock.ts';
import { connectionOf, saying } from '../../sandbox/callers.ts';
import { renewed, TestIdentities } from '../../sandbox/identities.ts';

const idOf = (name: string): string => `spiffe://home.test/${name}`;
const cleanUps: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

const callOf = (caller: Identity, ownLeaf: Uint8Array): CallContext => ({
  signal: new AbortController().signal,
  deadlineMs: Infinity,
  headers: saying(caller.signPathToken(idOf('nsmgr'), 60_000).token),
  peer: {
    binding: 'grpc',
    spiffeId: idOf('nsc'),
    leaf: caller.current()?.svid.chain[0] ?? new Uint8Array(),
    ownLeaf,
  },
  setHeader: () => {},
});

interface Behind {
  readonly trail: AuditTrail;
  readonly answer: (connection: Connection) => Connection;
}

const guardOf = ({ identity, tokens }: OwnIdentity, { trail, answer }: Behind) =>
  guardNetworkService(
    {
      request: ({ connection }) => Promise.resolve(answer(connection ?? connectionOf([]))),
      close: () => Promise.resolve(create(EmptySchema)),
    },
    {
      authority: new Authority({
        hop: 'nsmgr',
        self: () => idOf('nsmgr'),
        reader: new TokenReader((token, leaf) => identity.verifyPathToken(token, leaf)),
        tokens,
        policy: () => openPolicy,
        trail,
        wallClock: systemWallClock,
      }),
      table: { get: () => undefined, withSegment: () => [] },
    },
  );

async function managerAndCaller() {
  const identities = new TestIdentities({ svidLifetimeMs: 60_000 });
  cleanUps.push(() => identities.close());
  const endpoint = await identities.socketOf('nsmgr');
  const own = await obtainIdentity({ endpoint, maxTokenLifetimeMs: 600_000, log: silentLog });
  cleanUps.push(() => own.identity.close());
  const caller = await identities.source('nsc');
  return { identities, own, caller };
}

it.each([
  ['before a renewal', true],
  ['after it', false],
])('an answer can be verified by a caller that has connected %s', async (_, isFromBefore) => {
  const { identities, own, caller } = await managerAndCaller();
  const before = own.identity.current()?.svid.chain[0] ?? new Uint8Array();
  await renewed(own.identity, () => identities.server.rotateSvids());
  const now = own.identity.current()?.svid.chain[0] ?? new Uint8Array();
  const known = isFromBefore ? before : now;
  const forNext = await own.tokens.token({ spiffeId: idOf('forwarder') });

  const guard = guardOf(own, {
    trail: new AuditTrail({ log: { write: () => {} }, clock: systemClock }),
    answer: (connection) => withSegment(connection, 1, { token: forNext.token }),
  });
  const context = callOf(caller, known);
  const connection = connectionOf([{ name: 'nsc', id: 'nsc-0' }], [{ name: 'nsmgr', id: 'm' }]);
  const request = create(NetworkServiceRequestSchema, { connection });
  const { path } = await guard.request(request, context);
  const segment = path?.pathSegments[1];
  const claims = own.identity.verifyPathToken(segment?.token ?? '', known);
  expect(claims).toMatchObject({ subject: idOf('nsmgr'), audience: [idOf('forwarder')] });
  expect(segment?.token === forNext.token).toBe(!isFromBefore);
  const ends = segment?.expires;
  expect(ends && timestampToEpochMs(ends)).toBeLessThanOrEqual(claims.expiresAtMs + 1_000);
});

it('a connection that was closed leaves no Request in the memory of the audit log, under neither of its ids', async () => {
  const { own, caller } = await managerAndCaller();
  const written: AuditRecord[] = [];
  const log = { write: (record: AuditRecord): void => void written.push(record) };
  const trail = new AuditTrail({ log, clock: systemClock });
  const context = callOf(caller, own.identity.current()?.svid.chain[0] ?? new Uint8Array());
  const known = connectionOf([{ name: 'nsc', id: 'nsc-0' }], [{ name: 'nsmgr', id: 'm' }]);
  const guard = guardOf(own, { trail, answer: () => known });

  const first = connectionOf([{ name: 'nsc', id: 'nsc-0' }]);
  for (const connection of [first, first, known, known]) {
    await guard.request(create(NetworkServiceRequestSchema, { connection }), context);
  }
  await guard.close(known, context);
  expect(
    written.map(({ operation, connectionId, repeated = 0 }) => [operation, connectionId, repeated]),
  ).toEqual([
    ['Request', 'nsc-0', 0],
    ['Request', 'm', 0],
    ['Close', 'm', 0],
    ['Request', 'nsc-0', 1],
    ['Request', 'm', 1],
  ]);
  // The Close alone.
  expect(trail.size).toBe(1);
});
