// One stream inside the process. The handler runs ahead of its consumer by a bounded number of messages, as it
// does over the bus, and is stopped by the consumer leaving, by the caller's signal or deadline, or by the
// listener closing.

import type { DescMethod, Message } from '@bufbuild/protobuf';
import { NsmError } from '../../protocols/errors.ts';
import { MessageQueue } from '../../protocols/messages/message-queue.ts';
import type { Pump } from '../../protocols/messages/pump.ts';
import { Room, startPump } from '../../protocols/messages/pump.ts';
import type { StreamRequests } from '../../protocols/messages/rpc-client.ts';
import {
  cancelledByCaller,
  deadlineExceeded,
  methodPath,
} from '../../protocols/messages/rpc-client.ts';
import type { ServedMethod } from '../../protocols/messages/served-call.ts';
import {
  answerStream,
  checkAnswer,
  ServedCall,
  unimplemented,
} from '../../protocols/messages/served-call.ts';
import type { StreamOptions } from '../../protocols/ports/rpc.ts';
import { listenForAbort } from './listen-for-abort.ts';
import type { MemoryCaller, MemoryHost } from './memory-host.ts';
import { headersOf } from './memory-host.ts';

/** Messages that a sender may be ahead of its receiver. */
const window = 64;

export function startMemoryStream(
  caller: MemoryCaller,
  method: DescMethod,
  requests: StreamRequests,
  options: StreamOptions,
): AsyncIterator<Message> {
  const found = findServed(caller, method);
  if (found instanceof NsmError) {
    const failed = new MessageQueue<Message>();
    failed.end(found);
    return failed;
  }
  return run(caller, found, requests, options);
}

interface Served {
  readonly host: MemoryHost;
  readonly served: ServedMethod;
}

function findServed(caller: MemoryCaller, method: DescMethod): Served | NsmError {
  const host = caller.host();
  if (host instanceof NsmError) return host;
  const path = methodPath(method);
  const served = host.methods.get(path);
  if (served === undefined) return unimplemented(path, caller.url);
  return host.calls.refusal() ?? { host, served };
}

function run(
  caller: MemoryCaller,
  { host, served }: Served,
  requests: StreamRequests,
  options: StreamOptions,
): AsyncIterator<Message> {
  const { timeoutMs, signal } = options;
  const method = served.method;
  const peer = caller.peer();
  const call = new ServedCall({
    deadlineMs: timeoutMs === undefined ? Infinity : caller.clock.nowMs() + timeoutMs,
    headers: headersOf(caller, options.headers, peer),
    peer,
  });
  let upstream: Pump | undefined;
  let downstream: Pump | undefined;
  const inFlight = { abort: (reason: NsmError): void => stop(reason) };
  const stop = (reason: NsmError): void => {
    answers.abort(reason);
    finish(reason);
  };
  const finish = (reason: NsmError): void => {
    timer?.cancel();
    signal?.removeEventListener('abort', onAbort);
    host.calls.end(inFlight);
    call.abort(reason);
    upstream?.stop();
    downstream?.stop();
    input?.abort(reason);
  };
  const onAbort = (): void => stop(cancelledByCaller(method));
  const timer =
    timeoutMs === undefined
      ? undefined
      : caller.clock.after(timeoutMs, () => stop(deadlineExceeded(method, timeoutMs)));
  if (signal !== undefined) listenForAbort(signal, onAbort);
  host.calls.begin(inFlight, timeoutMs === undefined);

  const { queue: answers, sink } = joined((error) => {
    answers.end(error);
    finish(cancelledByCaller(method));
  }, onAbort);
  let input: MessageQueue<Message> | undefined;
  const start = (): void => {
    if (call.isAborted) return;
    let request: unknown = requests.kind === 'one' ? requests.message : undefined;
    if (requests.kind === 'many') {
      const source = requests.messages;
      const way = joined((error) => way.queue.end(error));
      input = way.queue;
      request = input;
      upstream = startPump(() => source, way.sink);
    }
    const checked = {
      ...sink,
      write: (message: Message): void => {
        checkAnswer(served, message);
        call.takeHeaders();
        sink.write(message);
      },
    };
    downstream = startPump(() => answerStream(served, request, call), checked);
  };
  queueMicrotask(start);
  return answers;
}

/** A queue with the sink that fills it, at most `window` messages ahead of its reader. */
function joined(end: (error: NsmError | undefined) => void, onReturn?: () => void) {
  let taken = 0;
  const room = new Room(window);
  const queue = new MessageQueue<Message>({
    onTake: () => {
      taken += 1;
      room.grant(taken + window);
    },
    ...(onReturn === undefined ? {} : { onReturn }),
  });
  const sink = {
    room: () => room.wait(),
    write: (message: Message): void => {
      room.take();
      queue.push(message);
    },
    end,
  };
  return { queue, sink };
}
