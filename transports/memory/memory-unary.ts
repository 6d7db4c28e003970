// One unary call inside the process. It sits on the path of every hop of a mesh in one process, so it makes one
// timer and as few objects as its promises need.

import type { DescMethod, Message } from '@bufbuild/protobuf';
import { NsmError } from '../../protocols/errors.ts';
import {
  cancelledByCaller,
  deadlineExceeded,
  methodPath,
} from '../../protocols/messages/rpc-client.ts';
import type { UnaryAnswer } from '../../protocols/messages/served-call.ts';
import { answerUnary, ServedCall, unimplemented } from '../../protocols/messages/served-call.ts';
import type { UnaryOptions } from '../../protocols/ports/rpc.ts';
import { listenForAbort } from './listen-for-abort.ts';
import type { MemoryCaller } from './memory-host.ts';
import { headersOf } from './memory-host.ts';

export function callMemoryUnary(
  caller: MemoryCaller,
  method: DescMethod,
  request: Message,
  options: UnaryOptions,
): Promise<Message> {
  const host = caller.host();
  if (host instanceof NsmError) return Promise.reject(host);
  const path = methodPath(method);
  const served = host.methods.get(path);
  if (served === undefined) return Promise.reject(unimplemented(path, caller.url));
  const refusal = host.calls.refusal();
  if (refusal !== undefined) return Promise.reject(refusal);
  const { timeoutMs, signal } = options;
  const peer = caller.peer();
  const call = new ServedCall({
    deadlineMs: caller.clock.nowMs() + timeoutMs,
    headers: headersOf(caller, options.headers, peer),
    peer,
    operation: options.operation,
  });
  return new Promise((resolve, reject) => {
    let settled = false;
    const settle = (): boolean => {
      if (settled) return false;
      settled = true;
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
      host.calls.end(inFlight);
      return true;
    };
    const fail = (error: NsmError): void => {
      if (settle()) reject(error);
    };
    const inFlight = {
      abort: (reason: NsmError): void => {
        call.abort(reason);
        fail(reason);
      },
    };
    const onAbort = (): void => inFlight.abort(cancelledByCaller(method));
    const onAnswer = (answer: UnaryAnswer): void => {
      if (!settle()) return;
      options.onHeaders?.(answer.headers);
      options.onPeer?.(peer);
      resolve(answer.message);
    };
    const timer = caller.clock.after(timeoutMs, () =>
      inFlight.abort(deadlineExceeded(method, timeoutMs)),
    );
    if (signal !== undefined) listenForAbort(signal, onAbort);
    host.calls.begin(inFlight);
    queueMicrotask(() => {
      if (!settled) answerUnary(served, request, call, host.guard).then(onAnswer, fail);
    });
  });
}
