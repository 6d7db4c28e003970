// The worker that waits for link events of the node's namespace and passes on what changed for links whose name
// begins as asked. It blocks in poll() and wakes by an eventfd, so that ending never waits for a packet.

import { parentPort, workerData } from 'node:worker_threads';

import { parseMessages } from '../../protocols/netlink/codec.ts';
import { messageType, netlinkRoute } from '../../protocols/netlink/constants.ts';
import { dumpLinks, parseLink } from '../../protocols/netlink/link.ts';
import type { LinkEvent } from '../../protocols/ports/netlink.ts';
import { dontWait, lastErrno, libc } from './libc.ts';
import { exchange, openNetlinkSocket } from './netlink-socket.ts';
import { openIn } from './run-program.ts';

const options = workerData as {
  readonly namespace?: string;
  readonly namePrefix: string;
  readonly wakeDescriptor: number;
};
/** RTMGRP_LINK. */
const linkGroup = 1;
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

const socket = openIn(options.namespace, () => openNetlinkSocket(netlinkRoute, linkGroup));
const size = new Uint8Array(new Int32Array([receiveBufferBytes]).buffer);
if (libc.setsockopt(socket, socketLevel, receiveBufferForce, size, 4) < 0) {
  libc.setsockopt(socket, socketLevel, receiveBufferOption, size, 4);
}
const buffer = new Uint8Array(256 * 1024);
/** By index: whether the link was running when last seen. */
const running = new Map<number, boolean>();

seed();
parentPort?.postMessage({ kind: 'ready' });
// pollfd: descriptor i32, events i16, returned events i16; twice.
const entries = new Int32Array([socket, readable, options.wakeDescriptor, readable]);
const entryBytes = new Uint8Array(entries.buffer);
for (;;) {
  if (libc.poll(entryBytes, 2, -1) < 0 && lastErrno() !== interrupted) break;
  if ((entries[3] ?? 0) >>> 16 !== 0) break;
  drain();
}
libc.close(socket);

/** What is there when listening begins, so that the first change of an old link is told from a new link. */
function seed(): void {
  const asking = openIn(options.namespace, () => openNetlinkSocket(netlinkRoute));
  for (const message of exchange(asking, dumpLinks().bytes).messages) {
    const link = parseLink(message);
    if (link?.name.startsWith(options.namePrefix)) running.set(link.index, link.isRunning);
  }
  libc.close(asking);
}

function drain(): void {
  for (;;) {
    const count = libc.recv(socket, buffer, buffer.length, dontWait);
    if (count >= 0) {
      for (const event of eventsIn(buffer.subarray(0, count))) parentPort?.postMessage(event);
      continue;
    }
    const number = lastErrno();
    if (number === overflow) parentPort?.postMessage({ kind: 'lost' } satisfies LinkEvent);
    else if (number === wouldBlock) return;
  }
}

function* eventsIn(bytes: Uint8Array): Generator<LinkEvent> {
  for (const message of parseMessages(bytes)) {
    const link = parseLink(message);
    if (link === undefined || !link.name.startsWith(options.namePrefix)) continue;
    const { index, name } = link;
    if (message.type === messageType.delLink) {
      running.delete(index);
      yield { kind: 'gone', index, name };
    } else if (message.type === messageType.newLink) {
      const before = running.get(index);
      running.set(index, link.isRunning);
      if (link.isRunning && before !== true) yield { kind: 'running', index, name };
      else if (!link.isRunning && before === true) yield { kind: 'notRunning', index, name };
    }
  }
}
