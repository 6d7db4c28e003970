// Services that are listened for before they can be served: a call waits for that, in its order of arrival and inside
// its own deadline. Invariant: nothing reaches the handler before, and nothing is added to a call afterwards.

import { NsmError } from '../../protocols/errors.ts';
import type { CallContext, ServedService } from '../../protocols/ports/rpc.ts';

type Unary = (message: unknown, context: CallContext) => Promise<unknown>;
type Streaming = (message: unknown, context: CallContext) => AsyncIterable<unknown>;

/** `ready` never rejects. */
export function servedAfter(
  ready: Promise<void>,
  services: readonly ServedService[],
): readonly ServedService[] {
  let isReady = false;
  void ready.then(() => {
    isReady = true;
  });
  return services.map(({ descriptor, handler }) => {
    const methods = descriptor.methods.map(({ localName, methodKind }) => {
      const unary = handler[localName] as Unary;
      const streaming = handler[localName] as Streaming;
      const waiting: Unary | Streaming =
        methodKind === 'unary'
          ? (message, context) =>
              isReady
                ? unary(message, context)
                : until(ready, context.signal).then(() => unary(message, context))
          : (message, context) =>
              isReady
                ? streaming(message, context)
                : later(until(ready, context.signal), () => streaming(message, context));
      return [localName, waiting] as const;
    });
    return { descriptor, handler: Object.fromEntries(methods) };
  });
}

async function* later<T>(ready: Promise<void>, start: () => AsyncIterable<T>): AsyncIterable<T> {
  await ready;
  yield* start();
}

function until(ready: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void =>
      reject(
        new NsmError('UNAVAILABLE', 'what an earlier life left is still being taken up', {
          remedy: 'ask again',
        }),
      );
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    void ready.then(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
  });
}
