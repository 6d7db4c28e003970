// The worker that waits for the kernel's events about the node's namespace and passes on what KernelEvents makes of
// them. It blocks in poll() and wakes by an eventfd, so that ending never waits for a packet.

import { parentPort, workerData } from 'node:worker_threads';

import { type NetlinkMessage, parseMessages } from '../../protocols/netlink/codec.ts';
import {
  netlinkNetfilter,
  netlinkRoute,
  nftablesGroup,
  routeGroup,
} from '../../protocols/netlink/constants.ts';
import { dumpLinks } from '../../protocols/netlink/link.ts';
import type { LinkEvent, WatchScope } from '../../protocols/ports/netlink.ts';
import { KernelEvents } from './kernel-events.ts';
import { dontWait, lastErrno, libc } from './libc.ts';
import { exchange, openNetlinkSocket } from './netlink-socket.ts';
import { openIn } from './run-program.ts';

const options = workerData as {
  readonly namespace?: string;
  readonly scope: WatchScope;
  readonly wakeDescriptor: number;
  readonly ownPorts: Uint32Array;
};
/** POLLIN. */
const readable = 1;
const interrupted = 4;
const wouldBlock = 11;
/** ENOBUFS: the kernel dropped events. */
const overflow = 105;
/** SOL_SOCKET, SO_RCVBUFFORCE and SO_RCVBUF. */
const socketLevel = 1;
const receiveBufferForce = 33;
const receiveBufferOption = 8;
const receiveBufferBytes = 8 << 20;
/** Reads before what they brought is told, however much more comes. */
const readsMax = 256;

const groups =
  routeGroup.link | routeGroup.neighbor | routeGroup.trafficControl | routeGroup.namespaceId;
const route = listen(netlinkRoute, groups);
const netfilter = listenIfThere(netlinkNetfilter, nftablesGroup);
const buffer = new Uint8Array(256 * 1024);
const events = new KernelEvents(options.scope);

const asking = openIn(options.namespace, () => openNetlinkSocket(netlinkRoute));
events.seed(exchange(asking, dumpLinks().bytes).messages);
libc.close(asking);
// What happened before this worker listened may have been missed.
tell([{ kind: 'lost' }]);
// pollfd: descriptor i32, events i16, returned events i16; three times. A negative descriptor is skipped.
const entries = new Int32Array([
  route,
  readable,
  options.wakeDescriptor,
  readable,
  netfilter ?? -1,
  readable,
]);
const entryBytes = new Uint8Array(entries.buffer);
const isReady = (position: number): boolean => (entries[position * 2 + 1] ?? 0) >>> 16 !== 0;
for (;;) {
  if (libc.poll(entryBytes, 3, -1) < 0 && lastErrno() !== interrupted) break;
  if (isReady(1)) break;
  if (isReady(0)) {
    drain(route, 'lost', (messages) => events.route(messages, ownPorts()));
  }
  if (netfilter !== undefined && isReady(2)) {
    drain(netfilter, 'filterChanged', (messages) => events.netfilter(messages, ownPorts()));
  }
}
libc.close(route);
if (netfilter !== undefined) libc.close(netfilter);

function listen(protocol: number, mask: number): number {
  const socket = openIn(options.namespace, () => openNetlinkSocket(protocol, mask));
  const size = new Uint8Array(new Int32Array([receiveBufferBytes]).buffer);
  if (libc.setsockopt(socket, socketLevel, receiveBufferForce, size, 4) < 0) {
    libc.setsockopt(socket, socketLevel, receiveBufferOption, size, 4);
  }
  return socket;
}

/** A kernel without nf_tables has nothing to tell about it. */
function listenIfThere(protocol: number, mask: number): number | undefined {
  try {
    return listen(protocol, mask);
  } catch {
    return undefined;
  }
}

function ownPorts() {
  return {
    route: Atomics.load(options.ownPorts, 0),
    netfilter: Atomics.load(options.ownPorts, 1),
  };
}

/** Everything that waits, as one message to the main thread. */
function drain(
  socket: number,
  ifMissed: 'lost' | 'filterChanged',
  interpret: (messages: readonly NetlinkMessage[]) => readonly LinkEvent[],
): void {
  const messages: NetlinkMessage[] = [];
  let hasMissed = false;
  for (let reads = 0; reads < readsMax; reads += 1) {
    const count = libc.recv(socket, buffer, buffer.length, dontWait);
    if (count >= 0) {
      // Copied, because the buffer is used again.
      messages.push(...parseMessages(buffer.slice(0, count)));
      continue;
    }
    const number = lastErrno();
    if (number === overflow) hasMissed = true;
    else if (number === wouldBlock) break;
  }
  const news = interpret(messages);
  tell(hasMissed ? [...news, { kind: ifMissed }] : news);
}

function tell(news: readonly LinkEvent[]): void {
  if (news.length > 0) parentPort?.postMessage(news);
}
