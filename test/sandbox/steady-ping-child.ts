// Pings one address a thousand times a second, or as often as it is told, until its input ends; says after each round how many went and came.

import { ping } from '../../transports/icmp/ping.ts';

const [, , destination = '', interval = '1'] = process.argv;
const intervalMs = Number(interval);
const total = { sent: 0, received: 0 };
let isEnding = false;
process.stdin.on('end', () => (isEnding = true)).resume();
// The first round ends at once, so that whoever waits knows that the stream has begun.
for (let count = 10; ; count = 200 / intervalMs) {
  const { sent, received } = await ping({ destination, count, intervalMs, timeoutMs: 2_000 });
  total.sent += sent;
  total.received += received;
  process.stdout.write(`${JSON.stringify(total)}\n`);
  if (isEnding) break;
}
process.stdin.destroy();
