// Protects the bus itself, on a real nats-server with the configuration that is made for it: only who proves a SPIFFE ID
// that is described gets on it, and may do what its roles do and nothing else. Users without rights try every subject of
// the description: they read nothing, forge nothing, change nothing.

import { execFileSync } from 'node:child_process';
import { connect } from '@nats-io/transport-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asNsmError } from '../../../protocols/errors.ts';
import {
  busRightsOf,
  inboxPrefixOf,
  registryBucketOf,
} from '../../../protocols/messages/bus-rights.ts';
import { callHeader, encodeCall } from '../../../protocols/messages/call-envelope.ts';
import type { Identity, IdentitySnapshot } from '../../../protocols/ports/identity.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { tlsMaterial } from '../../../protocols/spiffe/tls-material.ts';
import { BusSeals } from '../../../transports/nats/bus-seals.ts';
import { tlsConnectionOptions } from '../../../transports/nats/bus-tls.ts';
import {
  asLibraryHeaders,
  encodeHeaderBlock,
  readHeaderBlock,
} from '../../../transports/nats/header-block.ts';
import { systemWallClock } from '../../../transports/process/system-clock.ts';
import { failure, liveResources, noLeak } from '../../contract/rpc.ts';
import { BusStage, domain, idOf, users } from '../../sandbox/bus-stage.ts';
import { eventually } from '../../sandbox/eventually.ts';

let stage: BusStage;
let before: Record<string, number>;

beforeEach(async () => {
  before = liveResources();
  stage = await BusStage.open();
});

afterEach(async () => {
  await stage.close();
  await noLeak(before);
});

describe('the server', () => {
  it('takes its own configuration for a good one', async () => {
    const { secured } = stage;
    const binary = process.env['VWIRE_NATS_SERVER'] ?? 'nats-server';
    const said = execFileSync(binary, ['-t', '-c', secured.configFile], { stdio: 'pipe' });
    expect(said.toString()).not.toMatch(/error/i);
  });

  it.each([
    ['nobody', () => undefined],
    ['who is not described', (identity: Identity) => identity],
  ] as const)('lets %s on the bus', async (_, as) => {
    const { secured } = stage;
    const identity = as(await stage.identity('stranger'));
    const { ca } = tlsMaterial((await stage.identity('nsc')).current() as IdentitySnapshot);
    const how =
      identity === undefined
        ? { tls: { ca: ca.join(''), checkServerIdentity: () => undefined } }
        : tlsConnectionOptions({ identity });
    await expect(
      connect({
        servers: secured.server.url,
        reconnect: false,
        timeout: 5_000,
        ...how,
      } as Parameters<typeof connect>[0]),
    ).rejects.toThrow();
  });

  it('is not believed to be the bus where it is another one', async () => {
    const { secured } = stage;
    const identity = await stage.identity('nsc');
    const tls = { identity, serverId: idOf('other') };
    const attempt = connect({
      servers: secured.server.url,
      reconnect: false,
      ...tlsConnectionOptions(tls),
    });
    expect(asNsmError(await failure(attempt)).message).toMatch(/another one serves the bus/);
  });

  it('takes up a user without an end of the connections of others', async () => {
    const { secured } = stage;
    await stage.serve('nsmgr');
    const { ask, bus } = await stage.caller('nsc');
    await ask('before');
    await secured.describe([...users, { spiffeId: idOf('late'), roles: ['client'] }]);
    expect(await (await stage.caller('late')).ask('late')).toBe(idOf('late'));
    expect(await ask('after')).toBe(idOf('nsc'));
    expect(bus.reconnectedAtMs).toBe(-Infinity);
  });
});

describe('a user without rights', () => {
  /** Each subject that somebody may send to, as a message could be sent to it. */
  const subjects = [...new Set(users.flatMap((user) => busRightsOf(user, domain).publish))].map(
    (pattern) => pattern.replaceAll('*', 'x').replace(/>$/, 'a.b'),
  );
  const requestSubject = 'nsm.dom=2Etest.node-1.nsmgr.networkservice=2ENetworkService.Request';

  async function stranger(name: string) {
    const identity = await stage.identity(name);
    const connection = await connect({
      servers: stage.secured.server.url,
      reconnect: false,
      ...tlsConnectionOptions({ identity }),
    });
    stage.atEnd(() => connection.close());
    const denied: string[] = [];
    void (async () => {
      for await (const status of connection.status()) {
        if (status.type === 'error') denied.push(status.error.message);
      }
    })();
    return { connection, denied };
  }

  it.each(['nobody', 'nsc'])('as %s sends nothing where it has no business', async (name) => {
    const { connection, denied } = await stranger(name);
    const tap = await stage.tap();
    const own = users.find(({ spiffeId }) => spiffeId === idOf(name));
    const allowed = own === undefined ? [] : busRightsOf(own, domain).publish;
    const forbidden = subjects.filter(
      (subject) => !allowed.some((each) => subject.startsWith(each.replace(/[*>].*$/, ''))),
    );
    expect(forbidden.length).toBeGreaterThan(20);
    for (const subject of forbidden) connection.publish(subject, 'forged');
    await connection.flush();
    await eventually('the refusals', 5_000, () => expect(denied.length).toBe(forbidden.length));
    for (const subject of forbidden) expect(denied.join()).toContain(`"${subject}"`);
    await tap.flush();
    expect(tap.heard).toEqual([]);
  });

  it('hears nothing of the calls of others, nor what they are answered', async () => {
    const { connection, denied } = await stranger('nobody');
    const heard: string[] = [];
    const inboxes = users
      .filter(({ spiffeId }) => spiffeId !== idOf('nobody'))
      .map(({ spiffeId }) => `${inboxPrefixOf(spiffeId)}.>`);
    const wanted = [
      '>',
      '*.>',
      'nsm.>',
      'nsm.dom=2Etest.node-1.nsmgr.>',
      '_INBOX.>',
      '$JS.>',
      '$KV.>',
      '$SYS.>',
      ...inboxes,
    ];
    for (const subject of wanted) {
      connection.subscribe(subject, {
        callback: (error, message) => {
          if (error === null) heard.push(message.subject);
        },
      });
    }
    await connection.flush();
    await eventually('the refusals', 5_000, () => expect(denied.length).toBe(wanted.length));
    await stage.serve('nsmgr');
    const { ask } = await stage.caller('nsc');
    expect(await ask('a')).toBe(idOf('nsc'));
    const store = await stage.store('registry');
    await store.put('key', new Uint8Array([1]));
    await connection.flush();
    expect(heard).toEqual([]);
  });

  it('does not serve in the place of another one', async () => {
    const { connection, denied } = await stranger('nse');
    connection.subscribe('nsm.dom=2Etest.node-1.nsmgr.>', { callback: () => {} });
    connection.subscribe(requestSubject, { callback: () => {} });
    await connection.flush();
    await eventually('the refusals', 5_000, () => expect(denied.length).toBe(2));
  });

  it('neither reads nor changes the bucket of the registry, nor makes another', async () => {
    const store = await stage.store('registry');
    await store.put('key', new Uint8Array([1]));
    const bucket = registryBucketOf(domain);
    const { connection, denied } = await stranger('nse');
    const tries = [
      `$KV.${bucket}.key`,
      `$JS.API.STREAM.INFO.KV_${bucket}`,
      `$JS.API.STREAM.DELETE.KV_${bucket}`,
      `$JS.API.STREAM.PURGE.KV_${bucket}`,
      `$JS.API.STREAM.UPDATE.KV_${bucket}`,
      `$JS.API.STREAM.MSG.GET.KV_${bucket}`,
      `$JS.API.STREAM.MSG.DELETE.KV_${bucket}`,
      `$JS.API.DIRECT.GET.KV_${bucket}.$KV.${bucket}.key`,
      `$JS.API.CONSUMER.CREATE.KV_${bucket}.spy`,
      `$JS.API.STREAM.CREATE.spy`,
      `$JS.API.STREAM.NAMES`,
      `$JS.API.STREAM.LIST`,
      `$JS.API.ACCOUNT.PURGE.${domain}`,
      `$JS.API.SERVER.REMOVE`,
      `$SYS.REQ.SERVER.PING`,
    ];
    for (const subject of tries)
      connection.publish(subject, '{}', { reply: `${inboxPrefixOf(idOf('nse'))}.x` });
    await connection.flush();
    await eventually('the refusals', 5_000, () => expect(denied.length).toBe(tries.length));
    const entries = await store.load();
    expect(entries.map(({ key, value }) => [key, ...value])).toEqual([['key', 1]]);
  });

  it('makes no other one believe that a forged call is one', async () => {
    const { served } = await stage.serve('nsmgr');
    // It may call the manager, and says it is the forwarder.
    const { connection } = await stranger('nsc');
    const line = encodeCall({
      id: 'x',
      instance: undefined,
      startBy: 1e12,
      deadline: 1e12,
      window: 0,
    });
    const inbox = `${inboxPrefixOf(idOf('nsc'))}.x`;
    const answers: string[] = [];
    connection.subscribe(inbox, {
      callback: (_, message) => void answers.push(JSON.stringify(readHeaderBlock(message).headers)),
    });
    const forwarder = await stage.identity('forwarder');
    const seals = new BusSeals({ identity: forwarder, wallClock: systemWallClock, log: silentLog });
    const { 'vwire-chain': chain = '' } = seals.greeting();
    seals.close();
    const { token } = (await stage.identity('nsc')).signPathToken(idOf('nsmgr'), 60_000);
    for (const headers of [
      { 'vwire-hello': token, 'vwire-chain': chain },
      { 'vwire-seal': `${'A'.repeat(43)} ${'A'.repeat(43)} 1`, [callHeader]: line },
    ]) {
      connection.publish(requestSubject, new Uint8Array(), {
        headers: asLibraryHeaders(encodeHeaderBlock(headers)),
        reply: inbox,
      });
    }
    await eventually('the answers', 5_000, () => expect(answers).toHaveLength(2));
    expect(answers.join()).toMatch(/UNAUTHENTICATED.*vwire-stranger/);
    expect(served).toEqual([]);
  });
});
