// One end of a TCP transfer: `serve ADDRESS` sends back what it gets, `send ADDRESS` compares what comes back.

import { createHash, randomBytes } from 'node:crypto';
import { createConnection, createServer } from 'node:net';
import { pipeline } from 'node:stream/promises';

const port = 7007;
const bytes = 4 << 20;
const [, , role, host = ''] = process.argv;

if (role === 'serve') {
  const server = createServer((socket) => void pipeline(socket, socket).catch(() => {}));
  server.listen({ host, port }, () => process.stdout.write('listening\n'));
} else {
  const data = randomBytes(bytes);
  const socket = createConnection({ host, port });
  socket.end(data);
  const found = createHash('sha256');
  for await (const chunk of socket) found.update(chunk as Uint8Array);
  const expected = createHash('sha256').update(data).digest('hex');
  process.stdout.write(found.digest('hex') === expected ? 'all came back\n' : 'not the same\n');
}
