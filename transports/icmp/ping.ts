// Echo requests to one address from any namespace: does the wire carry packets, and how fast.
// NSM concept: data-plane liveness, as the reference's client checks it.
// Invariants: waiting happens on a pool thread; the call ends within count * interval + timeout; late and foreign
// replies and repeated ones are not counted.

import { NsmError } from '../../protocols/errors.ts';
import { parseIp } from '../../protocols/netlink/ip-address.ts';
import { decodeEchoReply, encodeEchoRequest } from './icmp-packet.ts';
import type { IcmpSocket } from './icmp-socket.ts';
import { openIcmpSocket } from './icmp-socket.ts';

export interface PingOptions {
  /** `file://` URL of a network namespace; absent: the process's own. */
  readonly namespace?: string;
  readonly source?: string;
  readonly destination: string;
  readonly count: number;
  readonly intervalMs: number;
  /** How long the last reply may take. */
  readonly timeoutMs: number;
  /** Payload bytes; default 56. */
  readonly size?: number;
  readonly signal?: AbortSignal;
}

export interface PingResult {
  readonly sent: number;
  readonly received: number;
  /** In the order of arrival. */
  readonly rttsMs: readonly number[];
}

/** A pool thread waits no longer than this at a time, so that a process which exits is not held up. */
const waitMsMax = 50;
const countMax = 65536;
let lastIdentifier = process.pid;

/** Errors: INVALID_ARGUMENT (address, bounds), NOT_FOUND (namespace, no route), PERMISSION_DENIED, CANCELLED. */
export async function ping(options: PingOptions): Promise<PingResult> {
  const destination = parseIp(options.destination);
  const source = options.source === undefined ? undefined : parseIp(options.source);
  checkBounds(options);
  const socket = openIcmpSocket({ namespace: options.namespace, source, destination });
  try {
    return await exchange(socket, options, destination.bytes.length === 4 ? 4 : 6);
  } finally {
    socket.close();
  }
}

async function exchange(
  socket: IcmpSocket,
  options: PingOptions,
  version: 4 | 6,
): Promise<PingResult> {
  lastIdentifier = (lastIdentifier + 1) & 0xffff;
  const identifier = lastIdentifier;
  const sentAtMs: number[] = [];
  const rttsMs: number[] = [];
  const answered = new Set<number>();
  const startMs = performance.now();
  const endMs = startMs + (options.count - 1) * options.intervalMs + options.timeoutMs;
  for (;;) {
    options.signal?.throwIfAborted();
    const nowMs = performance.now();
    const dueMs = startMs + sentAtMs.length * options.intervalMs;
    if (sentAtMs.length < options.count && nowMs >= dueMs) {
      const echo = { identifier, sequence: sentAtMs.length };
      sentAtMs.push(nowMs);
      socket.send(encodeEchoRequest(version, echo, options.size ?? 56));
      continue;
    }
    for (let packet = socket.receive(); packet !== undefined; packet = socket.receive()) {
      const echo = decodeEchoReply(version, packet, socket.isRaw);
      if (echo === undefined || (socket.isRaw && echo.identifier !== identifier)) continue;
      const sent = sentAtMs[echo.sequence];
      if (sent === undefined || answered.has(echo.sequence)) continue;
      answered.add(echo.sequence);
      rttsMs.push(performance.now() - sent);
    }
    const isDone = answered.size === options.count || performance.now() >= endMs;
    if (isDone) return { sent: sentAtMs.length, received: answered.size, rttsMs };
    const nextMs = sentAtMs.length < options.count ? dueMs : endMs;
    await socket.waitReadable(Math.min(waitMsMax, Math.max(1, nextMs - performance.now())));
  }
}

function checkBounds({ count, intervalMs, timeoutMs, size = 56 }: PingOptions): void {
  const bounds: readonly (readonly [string, number, number, number])[] = [
    ['count', count, 1, countMax],
    ['intervalMs', intervalMs, 0, 3_600_000],
    ['timeoutMs', timeoutMs, 0, 3_600_000],
    ['size', size, 0, 65_000],
  ];
  for (const [rule, value, least, most] of bounds) {
    if (value >= least && value <= most) continue;
    throw new NsmError('INVALID_ARGUMENT', `ping: ${rule} is out of bounds`, {
      rule,
      expected: `${least} to ${most}`,
      found: `${value}`,
    });
  }
}
