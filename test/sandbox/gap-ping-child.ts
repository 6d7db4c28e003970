// Pings one address a thousand times a second until its input ends, without ever waiting for a reply; says ten times a
// second how many went and came, and the longest time without a reply.

import { parseIp } from '../../protocols/netlink/ip-address.ts';
import { decodeEchoReply, encodeEchoRequest } from '../../transports/icmp/icmp-packet.ts';
import { openIcmpSocket } from '../../transports/icmp/icmp-socket.ts';

const [, , text = ''] = process.argv;
const destination = parseIp(text);
const version = destination.bytes.length === 4 ? 4 : 6;
const socket = openIcmpSocket({ namespace: undefined, source: undefined, destination });
const identifier = process.pid & 0xffff;
const startMs = performance.now();
let [sent, received, longestGapMs, lastMs] = [0, 0, 0, startMs];

function hear(): void {
  for (let packet = socket.receive(); packet !== undefined; packet = socket.receive()) {
    const echo = decodeEchoReply(version, packet, socket.isRaw);
    if (echo === undefined || (socket.isRaw && echo.identifier !== identifier)) continue;
    received += 1;
    const nowMs = performance.now();
    longestGapMs = Math.max(longestGapMs, nowMs - lastMs);
    lastMs = nowMs;
  }
}

function tick(): void {
  hear();
  for (; sent < performance.now() - startMs; sent += 1) {
    socket.send(encodeEchoRequest(version, { identifier, sequence: sent & 0xffff }, 8));
  }
}

const say = (gapMs: number): void => {
  process.stdout.write(`${JSON.stringify({ sent, received, longestGapMs: gapMs })}\n`);
};
const ticking = setInterval(tick, 1);
// An outage that lasts counts up to now.
const saying = setInterval(() => say(Math.max(longestGapMs, performance.now() - lastMs)), 100);
process.stdin
  .on('end', () => {
    clearInterval(ticking);
    clearInterval(saying);
    hear();
    const gapMs = longestGapMs;
    setTimeout(() => {
      hear();
      say(gapMs);
      socket.close();
    }, 100);
  })
  .resume();
