// The worker that runs netlink programs, one after the other, as they arrive from the main thread.

import { parentPort, workerData } from 'node:worker_threads';

import { describeError } from '../../protocols/errors.ts';
import type { NetlinkOutcome, NetlinkStep } from '../../protocols/ports/netlink.ts';
import { createNodeSockets, runProgram } from './run-program.ts';

export interface ProgramRequest {
  readonly id: number;
  readonly program: readonly NetlinkStep[];
}

export interface ProgramReply {
  readonly id: number;
  readonly outcome?: NetlinkOutcome;
  /** Set where the worker itself failed. */
  readonly error?: string;
}

const { namespace, ownPorts } = workerData as {
  readonly namespace?: string;
  /** Where the ports of the node's sockets are told: route, netfilter. */
  readonly ownPorts: Uint32Array;
};
const node = createNodeSockets(namespace, (protocol, port) => {
  if (protocol !== 'generic') Atomics.store(ownPorts, protocol === 'route' ? 0 : 1, port);
});

parentPort?.on('message', ({ id, program }: ProgramRequest) => {
  let reply: ProgramReply;
  try {
    reply = { id, outcome: runProgram(program, node) };
  } catch (thrown) {
    reply = { id, error: describeError(thrown) };
  }
  parentPort?.postMessage(reply);
});
