// The kernel's netlink interface as a port: programs run in a worker thread, link events come from another.
// Invariants: the main loop never blocks; the queue is bounded; a pending program keeps the process alive, an
// idle worker does not; a process that exits without closing wakes the events' worker, so exit never waits.

import type { LinkEvent, Netlink } from '../../protocols/ports/netlink.ts';
import { checked, closeOnExec, libc } from './libc.ts';
import { closedError, createProgramQueue } from './program-queue.ts';
import { startWorker } from './start-worker.ts';

export interface NetlinkOptions {
  /** URL of the node's namespace; absent: the one that the process is in. */
  readonly namespace?: string;
  /** Programs waiting beyond this are refused with RESOURCE_EXHAUSTED; default 4096. */
  readonly queueLengthMax?: number;
}

export function createNetlink(options: NetlinkOptions = {}): Netlink {
  // Written by the worker of the programs, read by that of the events: whose doing a change is.
  const ownPorts = new Uint32Array(new SharedArrayBuffer(8));
  const data = {
    ownPorts,
    ...(options.namespace === undefined ? {} : { namespace: options.namespace }),
  };
  const queue = createProgramQueue(data, options.queueLengthMax ?? 4096);
  const watches = new Set<() => void>();
  let isClosed = false;
  return {
    execute: (program, budget) => queue.execute(program, budget),

    watchLinks(scope, listener) {
      if (isClosed) throw closedError();
      const stop = startWatch({ ...data, scope }, listener);
      watches.add(stop);
      return () => {
        watches.delete(stop);
        stop();
      };
    },

    async close() {
      isClosed = true;
      for (const stop of watches) stop();
      watches.clear();
      await queue.close();
    },
  };
}

function startWatch(
  data: Readonly<Record<string, unknown>>,
  listener: (event: LinkEvent) => void,
): () => void {
  const wakeDescriptor = checked(libc.eventfd(0, closeOnExec), 'make an eventfd');
  const worker = startWorker(import.meta.url, '../../transports/netlink/link-events-worker', {
    ...data,
    wakeDescriptor,
  });
  let isStopped = false;
  const wake = () => {
    libc.write(wakeDescriptor, new Uint8Array(new BigUint64Array([1n]).buffer), 8);
  };
  process.on('exit', wake);
  worker.on('message', (events: readonly LinkEvent[]) => {
    for (const event of events) if (!isStopped) listener(event);
  });
  worker.on('error', () => {
    if (!isStopped) listener({ kind: 'lost' });
  });
  worker.on('exit', () => {
    process.removeListener('exit', wake);
    libc.close(wakeDescriptor);
  });
  worker.unref();
  return () => {
    if (isStopped) return;
    isStopped = true;
    wake();
  };
}
