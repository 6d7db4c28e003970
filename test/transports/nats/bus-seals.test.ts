// Protects what a hop over the bus proves, on a nats-server that proves nothing and lets everybody do everything: both
// sides know each other by SPIFFE ID and leaf, a tap reads nothing, what is changed, repeated, sent elsewhere or made by
// another is not taken, and nobody is served whose certificates do not count now.

import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { connect, type Msg, type NatsConnection } from '@nats-io/transport-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NsmError } from '../../../protocols/errors.ts';
import { helloHeader } from '../../../protocols/messages/seal-lines.ts';
import {
  ConnectionEventSchema,
  ConnectionSchema,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import type { Identity, IdentitySnapshot } from '../../../protocols/ports/identity.ts';
import { type Log, silentLog } from '../../../protocols/ports/log.ts';
import {
  type CallContext,
  type Peer,
  serve,
  type TokenPeer,
} from '../../../protocols/ports/rpc.ts';
import { BusSeals } from '../../../transports/nats/bus-seals.ts';
import {
  asLibraryHeaders,
  encodeHeaderBlock,
  readHeaderBlock,
} from '../../../transports/nats/header-block.ts';
import { createNatsDialer } from '../../../transports/nats/nats-dialer.ts';
import { createNatsListener } from '../../../transports/nats/nats-listener.ts';
import { startNatsServer, type NatsServer } from '../../../transports/nats/nats-server.ts';
import { systemWallClock } from '../../../transports/process/system-clock.ts';
import { failure, liveResources, noLeak } from '../../contract/rpc.ts';
import { beatMs, openBus } from '../../contract/rpc-bindings.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { renewed, TestIdentities } from '../../sandbox/identities.ts';

const url = 'nats://dom/node/callee';
const prefix = 'nsm.dom.node.callee';
const requestSubject = `${prefix}.networkservice=2ENetworkService.Request`;

let server: NatsServer;
let home: TestIdentities;
let away: TestIdentities;
let tap: NatsConnection;
let tapped: Msg[];
let before: Record<string, number>;
const cleanUps: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  before = liveResources();
  server = await startNatsServer();
  home = new TestIdentities();
  away = new TestIdentities({ trustDomain: 'away.test' });
  federate(home, away);
  tap = await connect({ servers: server.url });
  tapped = [];
  tap.subscribe('>', { callback: (_, message) => void tapped.push(message) });
  await tap.flush();
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  await Promise.all([home.close(), away.close(), tap.close()]);
  await server.stop();
  await noLeak(before);
});

function federate(one: TestIdentities, other: TestIdentities): void {
  one.server.federate(other.server.trustDomain, other.server.bundle());
  other.server.federate(one.server.trustDomain, one.server.bundle());
}

function briefIdentities(): TestIdentities {
  const brief = new TestIdentities({ trustDomain: 'brief.test', svidLifetimeMs: 4_000 });
  federate(home, brief);
  cleanUps.push(() => brief.close());
  return brief;
}

async function busAs(identity: Identity | undefined, log: Log = silentLog) {
  const bus = await openBus(server.url, 'test', log);
  const seals = identity && new BusSeals({ identity, wallClock: systemWallClock, log });
  cleanUps.push(async () => {
    await bus.close();
    seals?.close();
  });
  return { bus, with: seals === undefined ? {} : { seals } };
}

async function serveAs(identity: Identity | undefined) {
  const warnings: string[] = [];
  const log: Log = {
    ...silentLog,
    warn: (message, fields) => void warnings.push(`${message} ${String(fields?.['error'])}`),
    child: () => log,
  };
  const contexts: CallContext[] = [];
  const { bus, with: seals } = await busAs(identity, log);
  const services = [
    serve(NetworkService, {
      request: (_, context) => {
        contexts.push(context);
        return Promise.resolve(create(ConnectionSchema, { id: context.peer.spiffeId ?? '' }));
      },
      close: () => Promise.resolve(create(EmptySchema)),
    }),
    serve(MonitorConnection, {
      async *monitorConnections(_, context) {
        contexts.push(context);
        yield create(ConnectionEventSchema);
        await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
      },
    }),
  ];
  const listener = createNatsListener(bus, { beatMs, ...seals });
  const listening = await listener.listen(url, services);
  cleanUps.push(() => listening.close(0));
  return { contexts, warnings };
}

async function callerAs(identity: Identity | undefined) {
  const audiences: (string | undefined)[] = [];
  const { bus, with: seals } = await busAs(identity);
  const make = (peer: TokenPeer | undefined) => {
    audiences.push(peer?.spiffeId);
    return { 'x-for': String(peer?.spiffeId) };
  };
  const dialer = createNatsDialer(bus, {
    beatMs,
    ...seals,
    callHeaders: { names: ['x-for'], make },
  });
  cleanUps.push(() => dialer.close());
  const channel = dialer.dial(url);
  const ask = async (id = ''): Promise<{ id: string; peer: Peer | undefined }> => {
    let peer: Peer | undefined;
    const request = create(NetworkServiceRequestSchema, { connection: { id } });
    const answer = await channel.client(NetworkService).request(request, {
      timeoutMs: 10_000,
      onPeer: (found) => {
        peer = found;
      },
    });
    return { id: answer.id, peer };
  };
  const watch = async () => {
    const stream = channel
      .client(MonitorConnection)
      .monitorConnections(create(MonitorScopeSelectorSchema))
      [Symbol.asyncIterator]();
    await stream.next();
    return stream.next().then(
      () => undefined,
      (error: unknown) => error as NsmError,
    );
  };
  return { ask, watch, audiences };
}

/** The sealed message of a Request, as the tap saw it. */
const sealedRequest = (): Msg => {
  const found = tapped.findLast(
    ({ subject, data }) => subject === requestSubject && data.length > 0,
  );
  if (found === undefined) throw new Error('no sealed request was seen');
  return found;
};

/** Puts a message on the bus again, with what `change` makes of it. */
async function replay(
  message: Msg,
  change: { subject?: string; reply?: string; data?: Uint8Array } = {},
) {
  const { headers } = readHeaderBlock(message);
  tap.publish(change.subject ?? message.subject, change.data ?? message.data, {
    headers: asLibraryHeaders(encodeHeaderBlock(headers)),
    reply: change.reply ?? message.reply ?? '',
  });
  await tap.flush();
}

/** The identity as a process has it that lies to itself about those. */
function faked(identity: Identity, fields: Partial<Identity>): Identity {
  return {
    current: () => identity.current(),
    watch: (listener: () => void) => identity.watch(listener),
    verifyPeer: (chain: readonly Uint8Array[]) => identity.verifyPeer(chain),
    verifyPathToken: (token: string, leaf: Uint8Array) => identity.verifyPathToken(token, leaf),
    signPathToken: (to: string, lifetimeMs: number) => identity.signPathToken(to, lifetimeMs),
    ...fields,
  } as Identity;
}

const leafOf = (identity: Identity) => Buffer.from(identity.current()?.svid.chain[0] ?? []);

describe('both sides', () => {
  it('know each other by SPIFFE ID and leaf, of federated trust domains too', async () => {
    const [callee, caller] = [await home.source('callee'), await away.source('caller')];
    const served = await serveAs(callee);
    const { ask, audiences } = await callerAs(caller);
    const { id, peer } = await ask();
    expect(id).toBe('spiffe://away.test/caller');
    expect(peer).toMatchObject({ binding: 'nats', spiffeId: 'spiffe://home.test/callee' });
    expect(Buffer.from(peer?.leaf ?? [])).toEqual(leafOf(callee));
    expect(Buffer.from(served.contexts[0]?.peer.leaf ?? [])).toEqual(leafOf(caller));
    expect(new Set(audiences)).toEqual(new Set(['spiffe://home.test/callee']));
    expect(served.contexts[0]?.headers['x-for']).toBe('spiffe://home.test/callee');
  });

  it('show nothing of a call to who reads along but that there is one, and whose', async () => {
    await serveAs(await home.source('callee'));
    const { ask } = await callerAs(await home.source('caller'));
    await ask('a-name-to-look-for');
    await tap.flush();
    const seen = tapped.map((message) =>
      [
        Buffer.from(message.data).toString('latin1'),
        JSON.stringify(readHeaderBlock(message)),
      ].join(),
    );
    expect(seen.length).toBeGreaterThan(3);
    // The answer holds the SPIFFE ID of the caller, the call the name and a header.
    for (const each of seen)
      expect(each).not.toMatch(/a-name-to-look-for|x-for|home\.test\/caller/);
  });

  it.each([
    ['callee', true, false],
    ['caller', false, true],
  ] as const)('need an identity: the %s alone has one', async (_, isCallee, isCaller) => {
    const served = await serveAs(isCallee ? await home.source('callee') : undefined);
    const { ask } = await callerAs(isCaller ? await home.source('caller') : undefined);
    if (isCaller) {
      expect((await failure(ask())).code).toBe('UNAUTHENTICATED');
      expect(served.contexts).toEqual([]);
    } else {
      // Rules refuse it: it is a call of nobody.
      expect((await ask()).id).toBe('');
      expect(served.contexts[0]?.peer).toEqual({ binding: 'nats' });
    }
  });
});

describe('a message that was seen on the bus', () => {
  const attacks: readonly (readonly [string, (message: Msg) => Promise<void>])[] = [
    ['is not taken twice', (message) => replay(message)],
    ['is not answered to another inbox', (message) => replay(message, { reply: '_INBOX.thief' })],
    [
      'is not taken for another method',
      (message) => replay(message, { subject: `${prefix}.networkservice=2ENetworkService.Close` }),
    ],
    [
      'is not taken when one bit is changed',
      (message) => {
        const data = Uint8Array.from(message.data);
        data[data.length >> 1] = (data[data.length >> 1] as number) ^ 1;
        return replay(message, { data });
      },
    ],
    [
      'is not taken when it is cut short',
      (message) => replay(message, { data: message.data.slice(0, 9) }),
    ],
    ['does not become an answer', (message) => replay(message, { subject: message.reply ?? '' })],
  ];
  it.each(attacks)('%s', async (_, attack) => {
    const served = await serveAs(await home.source('callee'));
    const { ask } = await callerAs(await home.source('caller'));
    await ask();
    await attack(sealedRequest());
    expect((await ask()).id).toBe('spiffe://home.test/caller');
    expect(served.contexts).toHaveLength(2);
  });
});

describe('a greeting', () => {
  const greet = async (headers: Readonly<Record<string, string>>) => {
    const answer = await tap.request(requestSubject, new Uint8Array(), {
      timeout: 5_000,
      headers: asLibraryHeaders(encodeHeaderBlock(headers)),
    });
    return readHeaderBlock(answer).headers;
  };
  const greetingOf = (identity: Identity) => {
    const seals = new BusSeals({ identity, wallClock: systemWallClock, log: silentLog });
    const greeting = seals.greeting();
    seals.close();
    return greeting;
  };

  const rows: readonly (readonly [
    string,
    (thief: Identity, honest: Identity) => Readonly<Record<string, string>>,
    RegExp,
  ])[] = [
    [
      'of another one’s certificate',
      (thief, honest) => ({
        ...greetingOf(honest),
        [helloHeader]: greetingOf(thief)[helloHeader] ?? '',
      }),
      /token-signature/,
    ],
    [
      'with a token for a path',
      (thief) => ({
        ...greetingOf(thief),
        [helloHeader]: thief.signPathToken('spiffe://home.test/callee', 60_000).token,
      }),
      /bus-greeting/,
    ],
    [
      'with an expired token',
      (thief) =>
        greetingOf(faked(thief, { signPathToken: (to) => thief.signPathToken(to, -5_000) })),
      /bus-greeting/,
    ],
    [
      'without certificates',
      (thief) => ({ ...greetingOf(thief), 'vwire-chain': '' }),
      /chain-length/,
    ],
    ['that is none', () => ({ [helloHeader]: 'x', 'vwire-chain': 'AAAA' }), /rule/],
  ];
  it.each(rows)('%s meets nobody', async (_, greetingBy, rule) => {
    const served = await serveAs(await home.source('callee'));
    const [thief, honest] = [await home.source('thief'), await home.source('caller')];
    const answer = await greet(greetingBy(thief, honest));
    expect(answer[helloHeader]).toBeUndefined();
    expect(answer['vwire-error']).toContain('UNAUTHENTICATED');
    expect(served.warnings.join()).toMatch(rule);
    expect((await (await callerAs(honest)).ask()).id).toBe('spiffe://home.test/caller');
  });

  it('of a trust domain that nobody vouches for meets nobody', async () => {
    const foreign = new TestIdentities({ trustDomain: 'foreign.test' });
    cleanUps.push(() => foreign.close());
    const served = await serveAs(await home.source('callee'));
    const { ask } = await callerAs(await foreign.source('caller'));
    expect((await failure(ask())).code).toBe('UNAUTHENTICATED');
    expect(served.warnings.join()).toMatch(/trust-bundle/);
    expect(served.contexts).toEqual([]);
  });
});

describe('rotation', () => {
  it('of the own SVID ends streams with notice, and new calls prove the new one', async () => {
    const caller = await home.source('caller');
    const served = await serveAs(await home.source('callee'));
    const { ask, watch } = await callerAs(caller);
    const ended = watch();
    await eventually('the stream', 5_000, () => expect(served.contexts).toHaveLength(1));
    await renewed(caller, () => home.server.rotateSvids());
    expect(await ended).toMatchObject({ code: 'UNAVAILABLE', details: { rule: 'svid-rotation' } });
    await ask();
    expect(Buffer.from(served.contexts.at(-1)?.peer.leaf ?? [])).toEqual(leafOf(caller));
  });

  it('of the CA on both sides loses no call', async () => {
    const [callee, caller] = [await home.source('callee'), await home.source('caller')];
    await serveAs(callee);
    const { ask } = await callerAs(caller);
    for (const act of [
      () => home.server.rotateAuthority(),
      () => home.server.rotateSvids(),
      () => home.server.rotateSvids(),
    ]) {
      const during = renewed(caller, act);
      expect((await ask()).id).toBe('spiffe://home.test/caller');
      await during;
      expect((await ask()).id).toBe('spiffe://home.test/caller');
    }
  });

  it("of the callee is followed before the callee's certificate ends", async () => {
    const callee = await briefIdentities().source('callee');
    await serveAs(callee);
    const { ask, watch } = await callerAs(await home.source('caller'));
    const { peer } = await ask();
    const { notAfterMs } = (callee.current() as IdentitySnapshot).svid;
    expect(await watch()).toMatchObject({ details: { rule: 'svid-rotation' } });
    expect(Date.now()).toBeLessThanOrEqual(notAfterMs);
    const next = (await ask()).peer;
    expect(next?.spiffeId).toBe('spiffe://brief.test/callee');
    expect(next?.leaf).not.toEqual(peer?.leaf);
  });
});

describe('a callee', () => {
  it('ends the stream of a caller whose trust domain is not trusted any more', async () => {
    const callee = await home.source('callee');
    const served = await serveAs(callee);
    const { watch, ask } = await callerAs(await away.source('caller'));
    const ended = watch();
    await eventually('the stream', 5_000, () => expect(served.contexts).toHaveLength(1));
    await renewed(callee, () => home.server.federate('away.test', undefined));
    expect((await ended)?.code).toBe('UNAVAILABLE');
    await eventually('the end', 5_000, () => expect(served.contexts[0]?.signal.aborted).toBe(true));
    expect((await failure(ask())).code).toBe('UNAUTHENTICATED');
  });

  it('ends the stream of a caller that does not renew at the end of its certificate', async () => {
    const caller = await briefIdentities().source('caller');
    const old = caller.current() as IdentitySnapshot;
    const careless = faked(caller, { current: () => old, watch: () => () => {} });
    const served = await serveAs(await home.source('callee'));
    const ended = (await callerAs(careless)).watch();
    await eventually('the end', 10_000, () =>
      expect(served.contexts[0]?.signal.aborted).toBe(true),
    );
    expect(Date.now()).toBeGreaterThanOrEqual(old.svid.notAfterMs - 50);
    expect((await ended)?.code).toBe('UNAVAILABLE');
  });
});
