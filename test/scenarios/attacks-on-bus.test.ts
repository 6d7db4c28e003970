// Protects a mesh on a bus from somebody who may be on it and makes messages by hand: calls that are not sealed, greetings
// in another one's name, sealed messages that were seen before. Each is refused with the right code or not taken, leaves one
// line in the audit log, and changes nothing.

import { create, toBinary } from '@bufbuild/protobuf';
import { connect, type Msg, type NatsConnection } from '@nats-io/transport-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  callHeader,
  decodeError,
  encodeCall,
  errorHeader,
} from '../../protocols/messages/call-envelope.ts';
import { inboxPrefixOf } from '../../protocols/messages/bus-rights.ts';
import { helloHeader } from '../../protocols/messages/seal-lines.ts';
import { NetworkServiceRequestSchema } from '../../protocols/nsm/gen/networkservice_pb.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import type { Headers } from '../../protocols/ports/rpc.ts';
import { BusSeals } from '../../transports/nats/bus-seals.ts';
import { tlsConnectionOptions } from '../../transports/nats/bus-tls.ts';
import {
  asLibraryHeaders,
  encodeHeaderBlock,
  readHeaderBlock,
} from '../../transports/nats/header-block.ts';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import { liveResources, noLeak } from '../contract/rpc.ts';
import { type Caller, connectionOf, saying } from '../sandbox/callers.ts';
import { eventually } from '../sandbox/eventually.ts';
import { idOf, openOnBus, type ProvenMesh, secretShape } from '../sandbox/proven-mesh.ts';

const subject = 'nsm.mesh.node.nse.networkservice=2ENetworkService.Request';

let mesh: ProvenMesh;
let before: Record<string, number>;
let thief: Caller;
let honest: Caller;
let url: string;
let raw: NatsConnection;

beforeEach(async () => {
  before = liveResources();
  mesh = await openOnBus();
  url = await mesh.endpoint(await mesh.registry());
  [thief, honest] = [await mesh.caller('thief'), await mesh.caller('honest')];
  raw = await connect({
    servers: mesh.bus?.server.url ?? '',
    ...tlsConnectionOptions({ identity: thief.identity }),
  });
  mesh.atEnd(() => raw.close());
});

afterEach(async () => {
  for (const line of await mesh.end()) expect(line).not.toMatch(secretShape);
  await noLeak(before);
});

async function send(headers: Headers, body = new Uint8Array()): Promise<Headers> {
  const answer = await raw.request(subject, body, {
    timeout: 5_000,
    headers: asLibraryHeaders(encodeHeaderBlock(headers)),
  });
  return readHeaderBlock(answer).headers;
}

const greetingOf = ({ identity }: Caller): Headers => {
  const seals = new BusSeals({ identity, wallClock: systemWallClock, log: silentLog });
  const greeting = seals.greeting();
  seals.close();
  return greeting;
};

async function changedNothing(): Promise<void> {
  expect(await thief.connections(url)).toEqual([]);
  await honest.request(url, connectionOf([{ name: 'b', id: 'b' }]));
  expect(await honest.connections(url)).toHaveLength(1);
}

describe('made by hand', () => {
  it.each([
    ['no token', () => ({})],
    ["another one's token", () => saying(honest.token(idOf('nse')))],
    ['an own token', () => saying(thief.token(idOf('nse')))],
  ] as const)('a call that is not sealed, with %s, is one of nobody', async (_, says) => {
    const far = systemClock.nowMs() + 1e9;
    const opening = { id: 'x', startBy: far, deadline: far, window: 0 };
    const first = await send({ [callHeader]: encodeCall({ ...opening, instance: undefined }) });
    const instance = first['vwire-frame']?.split(' ')[2];
    const connection = connectionOf([{ name: 'a', id: 'a' }]);
    const request = create(NetworkServiceRequestSchema, { connection });
    const headers = { [callHeader]: encodeCall({ ...opening, instance }), ...says() };
    const answer = await send(headers, toBinary(NetworkServiceRequestSchema, request));
    expect(decodeError(answer[errorHeader])).toMatchObject({
      code: 'UNAUTHENTICATED',
      details: { rule: 'peer_identity', hop: 'nse' },
    });
    expect(mesh.denials().map(({ rule, peer }) => [rule, peer])).toEqual([
      ['peer_identity', undefined],
    ]);
    await changedNothing();
  });

  it('a greeting with the certificate of another one meets nobody', async () => {
    const token = greetingOf(thief)[helloHeader] ?? '';
    const answer = await send({ ...greetingOf(honest), [helloHeader]: token });
    expect(decodeError(answer[errorHeader])?.code).toBe('UNAUTHENTICATED');
    expect(answer[helloHeader]).toBeUndefined();
    expect(mesh.denials()).toEqual([
      expect.objectContaining({ operation: 'Connect', hop: 'nse', rule: 'token-signature' }),
    ]);
    await changedNothing();
  });

  it('a sealed call that was sent before is not taken again', async () => {
    const seen: Msg[] = [];
    const tap = await connect({
      servers: mesh.bus?.server.url ?? '',
      ...tlsConnectionOptions({ identity: await mesh.identities.source('tap') }),
    });
    mesh.atEnd(() => tap.close());
    tap.subscribe('nsm.mesh.node.nse.>', { callback: (_, message) => void seen.push(message) });
    await tap.flush();
    await thief.request(url, connectionOf([{ name: 'a', id: 'a' }]));
    await tap.flush();
    const sealed = seen.findLast(({ data }) => data.length > 0);
    const { headers } = readHeaderBlock(sealed as Msg);
    raw.publish(subject, sealed?.data ?? new Uint8Array(), {
      headers: asLibraryHeaders(encodeHeaderBlock(headers)),
      reply: sealed?.reply ?? inboxPrefixOf(thief.id),
    });
    await eventually('the refusal', 5_000, () =>
      expect(mesh.denials().map(({ rule }) => rule)).toEqual(['bus-seal']),
    );
    expect(await thief.connections(url)).toHaveLength(1);
  });
});
