// Protects that this implementation understands the reference without it being there: bytes that Go peers were
// recorded to send are read to the last one, their tokens hold against their certificates, and our manager and registry
// serve the calls as they came.

import { create, createRegistry, fromBinary, toBinary } from '@bufbuild/protobuf';
import { EmptySchema, timestampMs } from '@bufbuild/protobuf/wkt';
import { afterEach, describe, expect, it } from 'vitest';
import { parseRegistryPath } from '../../protocols/registry/registry-path.ts';
import {
  ConnectionEventSchema,
  ConnectionEventType,
  ConnectionSchema,
  file_connection,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import {
  file_networkservice,
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../protocols/nsm/gen/networkservice_pb.ts';
import {
  file_registry,
  NetworkServiceEndpointQuerySchema,
  NetworkServiceEndpointRegistry,
  NetworkServiceEndpointResponseSchema,
  NetworkServiceEndpointSchema,
  NetworkServiceRegistry,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { parseTokenExpiry } from '../../protocols/nsm/token-expiry.ts';
import { parsePathToken } from '../../protocols/spiffe/path-token.ts';
import type { ServiceClient, StreamOptions } from '../../protocols/ports/rpc.ts';
import { socketPassingClient } from '../../transports/fd-passing/found-sockets.ts';
import { HeldDescriptors } from '../../transports/fd-passing/held-descriptors.ts';
import { KeptSockets } from '../../transports/fd-passing/kept-sockets.ts';
import { openPath } from '../../transports/fd-passing/socket-descriptors.ts';
import { verifyPathToken } from '../../transports/spiffe-ts/spiffe.ts';
import { createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';
import { createManualClock } from '../sandbox/manual-clock.ts';
import { type Exchange, exchange, exchanges } from './golden/exchanges.ts';

const types = createRegistry(file_connection, file_networkservice, file_registry, EmptySchema);
const timeoutMs = 15_000;

const workloadOf = (spiffeId: string): string => spiffeId.replace('spiffe://vwire.local/', '');

describe.each(exchanges)('$what of $from to $to', ({ type, bytes }) => {
  it('is read whole and written as long as it was', () => {
    const schema = types.getMessage(type);
    if (schema === undefined) throw new Error(`no message ${type}`);
    const message = fromBinary(schema, bytes);
    expect(message.$unknown).toBeUndefined();
    // The order of map entries is not part of the encoding; everything else is.
    const written = toBinary(schema, message);
    expect(written).toHaveLength(bytes.length);
    expect(fromBinary(schema, written)).toEqual(message);
  });
});

/** The token that the sender of an exchange signed, wherever it stands. */
function ownToken({ metadata, type, bytes }: Exchange): string {
  const registryPath = parseRegistryPath(metadata['path'] ?? '{}').PathSegments;
  const segments =
    type === 'connection.Connection' ? fromBinary(ConnectionSchema, bytes).path?.pathSegments : [];
  const token = metadata['nsm-client-token'] ?? [...registryPath, ...(segments ?? [])][1]?.token;
  if (token === undefined) throw new Error('no token');
  return token;
}

describe('tokens', () => {
  it.each(exchanges.filter(({ leaf }) => leaf !== undefined))(
    'of $from, with $what, are signed with the key of its certificate',
    (each) => {
      const { subject } = verifyPathToken(ownToken(each), each.leaf ?? new Uint8Array());
      expect(workloadOf(subject)).toBe(each.from);
    },
  );

  it('of a whole path are each for the next hop', () => {
    const { bytes } = exchange('nsmgr', 'answer to a Request');
    const segments = fromBinary(ConnectionSchema, bytes).path?.pathSegments ?? [];
    const tokens = segments.map(({ token }) => parsePathToken(token));
    expect(tokens.map(({ subject }) => workloadOf(subject))).toEqual([
      'nsc',
      'nsmgr',
      'forwarder',
      'nse',
    ]);
    expect(tokens.map(({ audience }) => audience.map(workloadOf))).toEqual([
      ['nsmgr'],
      ['forwarder'],
      ['nse'],
      // The last one is for whom it answers.
      ['forwarder'],
    ]);
  });

  it('in the registry path are the caller`s and the own one, and the index goes back to the caller', () => {
    const passedOn =
      exchange('nsmgr', 'Register of a NetworkServiceEndpoint, passed on').metadata['path'] ?? '';
    expect(parseRegistryPath(passedOn)).toMatchObject({ Index: 1, PathSegments: [{}, {}] });
    const answered = parseRegistryPath(
      exchange('registry', 'answer to a Register').metadata['path'] ?? '',
    );
    expect(answered.Index).toBe(0);
    expect(
      answered.PathSegments.map(({ token }) => workloadOf(parsePathToken(token).subject)),
    ).toEqual(['nse', 'registry']);
  });
});

describe('events of a monitor', () => {
  it('are keyed by the segment of the hop that tells, and show its view', () => {
    for (const what of ['UPDATE', 'DELETE'] as const) {
      const event = fromBinary(ConnectionEventSchema, exchange('nsmgr', what).bytes);
      const [[key, connection] = []] = Object.entries(event.connections);
      expect(event.type).toBe(ConnectionEventType[what]);
      expect(connection).toMatchObject({ id: key, path: { index: 1 } });
      expect(connection?.path?.pathSegments[1]?.id).toBe(key);
    }
  });

  it('begin with an empty message where there is nothing to show', () => {
    expect(exchange('nsmgr', 'INITIAL_STATE_TRANSFER').bytes).toHaveLength(0);
  });
});

it('tells a deletion by the last entry known', () => {
  const { bytes } = exchange('registry', 'news of a deletion');
  expect(fromBinary(NetworkServiceEndpointResponseSchema, bytes)).toMatchObject({
    deleted: true,
    networkServiceEndpoint: { name: 'nse-1', networkServiceNames: ['interop'] },
  });
});

it('names an Endpoint of its node by the inode of its socket, whose descriptor went ahead', async () => {
  const { bytes } = exchange('nsmgr', 'answer to a Find, with the socket by descriptor');
  const sent = fromBinary(NetworkServiceEndpointResponseSchema, bytes);
  expect(sent.networkServiceEndpoint).toMatchObject({ name: 'nse-1', url: 'inode://40/3' });
  const held = new HeldDescriptors({ find: () => undefined });
  const descriptors = { take: () => openPath('/dev/null'), send: () => {} };
  const manager = {
    async *find(_: unknown, options: StreamOptions) {
      options.onPeer?.({ binding: 'grpc', descriptors });
      yield sent;
    },
  } as unknown as ServiceClient<typeof NetworkServiceEndpointRegistry>;
  const clock = createManualClock();
  const sockets = new KeptSockets({ held, clock, wallClock: clock });
  const query = create(NetworkServiceEndpointQuerySchema);
  for await (const found of socketPassingClient(manager, sockets).find(query)) {
    expect(found.networkServiceEndpoint?.url).toBe(`unix://${held.pathOf('inode://40/3')}`);
  }
  sockets.close();
});

describe('our manager', () => {
  let mesh: Mesh;

  afterEach(() => mesh.end());

  /** At the time of the recording, which the tokens` expiries are about. */
  async function startMesh(at: Exchange): Promise<Node> {
    mesh = await createMesh(1);
    const expires = parseTokenExpiry(at.metadata['nsm-client-token-expires'] ?? '');
    const ahead = timestampMs(expires) - 10_000 - mesh.clock.epochMs();
    mesh.wallAheadMs = () => ahead;
    return mesh.nodes[0] as Node;
  }

  it('serves the Request of a Go client, and shows it what it asks the monitor for', async () => {
    const { bytes, metadata } = exchange('nsc', 'Request');
    const node = await startMesh(exchange('nsc', 'Request'));
    await mesh.addEndpoint(node, 'nse', { serviceNames: ['interop'] });
    const channel = mesh.dialer.dial(node.managerUrl);
    const request = fromBinary(NetworkServiceRequestSchema, bytes);
    const answering = channel
      .client(NetworkService)
      .request(request, { timeoutMs, headers: metadata });
    const answer = await mesh.run(answering);
    expect(answer).toMatchObject({
      id: 'nsc-1-0',
      networkServiceEndpointName: 'nse',
      mechanism: { type: 'KERNEL', parameters: request.mechanismPreferences[0]?.parameters },
      path: { index: 0 },
    });
    const selector = fromBinary(
      MonitorScopeSelectorSchema,
      exchange('nsc', 'MonitorConnections').bytes,
    );
    const stop = new AbortController();
    const events = channel
      .client(MonitorConnection)
      .monitorConnections(selector, { signal: stop.signal });
    const first = await mesh.run(events[Symbol.asyncIterator]().next());
    stop.abort();
    expect(Object.keys(first.value?.connections ?? {})).toEqual([answer.path?.pathSegments[1]?.id]);
    await mesh.run(channel.client(NetworkService).close(answer, { timeoutMs }));
  });

  it('registers what a Go Endpoint registers, and lets it watch its own entry', async () => {
    const service = exchange('nse', 'Register of a NetworkService');
    const entry = exchange('nse', 'Register of a NetworkServiceEndpoint');
    const node = await startMesh(entry);
    const channel = mesh.dialer.dial(node.managerUrl);
    const services = channel.client(NetworkServiceRegistry);
    const endpoints = channel.client(NetworkServiceEndpointRegistry);
    const sent = fromBinary(NetworkServiceEndpointSchema, entry.bytes);
    await mesh.run(
      services.register(fromBinary(NetworkServiceSchema, service.bytes), {
        timeoutMs,
        headers: service.metadata,
      }),
    );
    await mesh.run(endpoints.register(sent, { timeoutMs, headers: entry.metadata }));
    const query = fromBinary(
      NetworkServiceEndpointQuerySchema,
      exchange('nse', 'Find, watching its own entry').bytes,
    );
    const stop = new AbortController();
    const found = endpoints.find(query, { signal: stop.signal });
    const first = await mesh.run(found[Symbol.asyncIterator]().next());
    stop.abort();
    expect(first.value).toMatchObject({
      networkServiceEndpoint: { name: 'nse-1', networkServiceNames: ['interop'], url: sent.url },
      deleted: false,
    });
    await mesh.run(endpoints.unregister(sent, { timeoutMs, headers: entry.metadata }));
  });
});
