// Protects what a newer peer says and this version does not know: unknown fields and odd nanoseconds pass all hops in
// both directions, on the first Request, on refreshes and in the events of monitors.

import { type Message, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type Connection,
  ConnectionSchema,
  type PathSegment,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;
/** What the Endpoint was asked, oldest first. */
let asked: Connection[] = [];

afterEach(() => mesh.end());

const unknownField = (no: number, text: string) => ({
  no,
  wireType: WireType.LengthDelimited,
  data: new BinaryWriter().string(text).finish(),
});

const says = (message: Message | undefined) =>
  message?.$unknown?.map(({ no, data }) => [no, new TextDecoder().decode(data.slice(1))]);

async function start(nodeCount: number): Promise<string> {
  mesh = await createMesh(nodeCount);
  asked = [];
  const [first, last] = [mesh.nodes[0], mesh.nodes.at(-1)] as [Node, Node];
  await mesh.addEndpoint(last, 'nse', {
    onRequest(connection) {
      asked.push(connection);
      const ipContext = connection.context?.ipContext;
      if (ipContext === undefined || connection.context === undefined) return connection;
      return {
        ...connection,
        $unknown: [...(connection.$unknown ?? []), unknownField(901, 'from the Endpoint')],
        context: {
          ...connection.context,
          ipContext: { ...ipContext, $unknown: [unknownField(902, 'about addresses')] },
        },
      };
    },
  });
  return first.managerUrl;
}

/** A first Request of a client that knows more than we do, with an expiry to the nanosecond. */
function newer() {
  const request = mesh.firstRequest('hand-0');
  const { connection } = request;
  const segment = connection?.path?.pathSegments[0];
  if (connection === undefined || segment === undefined) throw new Error('no connection');
  connection.$unknown = [unknownField(900, 'from the client')];
  segment.$unknown = [unknownField(903, 'about the segment')];
  const expires = timestampFromMs(mesh.clock.epochMs() + 500_000);
  segment.expires = { ...expires, nanos: 123_456_789 };
  return request;
}

const segmentOf = (connection: Connection | undefined, at: number): PathSegment | undefined =>
  connection?.path?.pathSegments[at];

describe.each([
  { where: 'on one node', nodeCount: 1 },
  { where: 'over two nodes', nodeCount: 2 },
])('what is not known here, $where', ({ nodeCount }) => {
  it('reaches the Endpoint and comes back, also in a refresh', async () => {
    const manager = await start(nodeCount);
    const answer = await mesh.run(mesh.request(manager, newer()));
    const again = await mesh.run(mesh.request(manager, { ...newer(), connection: answer }));
    expect(asked.length).toBe(2);
    for (const each of asked) {
      expect(says(each)?.[0]).toEqual([900, 'from the client']);
      expect(says(segmentOf(each, 0))).toEqual([[903, 'about the segment']]);
      expect(segmentOf(each, 0)?.expires?.nanos).toBe(123_456_789);
    }
    for (const each of [answer, again]) {
      expect(says(each)).toContainEqual([901, 'from the Endpoint']);
      expect(says(each)).toContainEqual([900, 'from the client']);
      expect(says(each.context?.ipContext)).toEqual([[902, 'about addresses']]);
      expect(says(segmentOf(each, 0))).toEqual([[903, 'about the segment']]);
      expect(segmentOf(each, 0)?.expires?.nanos).toBe(123_456_789);
      expect(new TextDecoder().decode(toBinary(ConnectionSchema, each))).toContain(
        'about addresses',
      );
    }
    await mesh.run(mesh.close(manager, again));
  });

  it('is in what every monitor shows, and survives a restart of the manager and the forwarder', async () => {
    const manager = await start(nodeCount);
    const answer = await mesh.run(mesh.request(manager, newer()));
    const [node] = mesh.nodes;
    await node?.manager.stop();
    await node?.manager.start();
    await node?.forwarders[0]?.stop();
    await node?.forwarders[0]?.start();
    for (const url of [manager, node?.forwarders[0]?.url ?? '']) {
      const [stored] = Object.values(await mesh.connectionsAt(url));
      expect(says(stored), url).toContainEqual([900, 'from the client']);
      expect(says(stored?.context?.ipContext), url).toEqual([[902, 'about addresses']]);
      expect(segmentOf(stored, 0)?.expires?.nanos, url).toBe(123_456_789);
    }
    await mesh.run(mesh.close(manager, answer));
    // Until the Endpoint has registered again the restarted manager does not know it.
    await mesh.clock.advance(5_000);
  });
});
