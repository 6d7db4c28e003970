// Protects the audit log of a listener from its own peers: a client of grpc-go that leaves as it always does was refused
// nothing, whereas whoever breaks HTTP/2 otherwise is written down.

import { expect, it } from 'vitest';
import {
  closed,
  listener,
  requestPath,
  stageFloods,
  thiefId,
} from '../../sandbox/flooded-listener.ts';
import {
  callHeaders,
  endHeaders,
  frame,
  frameType,
  headerBlock,
  opening,
  partOfMessage,
  provenSocket,
} from '../../sandbox/raw-http2.ts';

stageFloods();

const endStream = 1;
/** By its newest call, the first; or by none, as the highest number there is. */
const goodbye = (newestCall: number): Buffer => {
  const payload = Buffer.alloc(8);
  payload.writeUInt32BE(newestCall, 0);
  return frame(frameType.goAway, 0, 0, payload);
};

const call = (agent: string): Buffer =>
  Buffer.concat([
    frame(
      frameType.headers,
      endHeaders,
      1,
      headerBlock({ ...callHeaders(requestPath), 'user-agent': agent }),
    ),
    frame(frameType.data, endStream, 1, partOfMessage(0, 0)),
  ]);

const goAgent = 'grpc-go/1.79.3';

it.each([
  ['after a call', [call(goAgent), goodbye(1)]],
  ['that never called', [goodbye(0x7fff_ffff)]],
])('says nothing of a client of grpc-go %s that leaves', async (_, frames) => {
  const { url, thief, othersAreServed, refused, lines } = await listener();
  const socket = await provenSocket(url, thief);
  const end = closed(socket);
  socket.write(Buffer.concat([opening, ...frames]));
  expect(await end).toBe('closed');
  await othersAreServed();
  expect(refused).toEqual([]);
  expect(lines()).toEqual([]);
});

it.each([
  ['another client, whatever it says', [call('grpc-node-js/1.14.0'), goodbye(1)]],
  ['one that does not begin as HTTP/2 does', []],
])('writes down %s', async (_, frames) => {
  const { url, thief, othersAreServed, lines } = await listener();
  const socket = await provenSocket(url, thief);
  const end = closed(socket);
  const start = frames.length === 0 ? Buffer.from('GET / HTTP/1.1\r\n\r\n') : opening;
  socket.write(Buffer.concat([start, ...frames]));
  expect(await end).toBe('closed');
  await othersAreServed();
  expect(lines()).toEqual([['Connect', thiefId, 'http2']]);
});
