// The callee's side that the three bindings share: the table of served methods, the context a handler sees, the
// bound on calls in flight, and the one way from a decoded request to the handler's answer, through the operation
// guard where the call carries an operation.

import type { DescMethod, Message } from '@bufbuild/protobuf';
import { asNsmError, NsmError } from '../errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { CallContext, Headers, Operation, Peer, ServedService } from '../ports/rpc.ts';
import { checkHeader, checkHeaderBounds } from './headers.ts';
import type { OperationGuard } from './operation-guard.ts';
import { methodPath } from './rpc-client.ts';

type Handler = (input: unknown, context: CallContext) => unknown;

export interface ServedMethod {
  readonly path: string;
  readonly method: DescMethod;
  readonly handle: Handler;
}

/** Served methods by path, `package.Service/Method`. Throws INVALID_ARGUMENT where a handler lacks a method. */
export function servedMethods(services: readonly ServedService[]): Map<string, ServedMethod> {
  const table = new Map<string, ServedMethod>();
  for (const { descriptor, handler } of services) {
    for (const method of descriptor.methods) {
      const handle = handler[method.localName];
      if (typeof handle !== 'function') {
        throw new NsmError('INVALID_ARGUMENT', `no handler for ${methodPath(method)}`, {
          rule: 'handler',
        });
      }
      const bound = (handle as Handler).bind(handler);
      table.set(methodPath(method), { path: methodPath(method), method, handle: bound });
    }
  }
  return table;
}

export function unimplemented(path: string, url: string): NsmError {
  return new NsmError('UNIMPLEMENTED', `${path} is not served here`, {
    rule: 'method',
    found: `${path} at ${url}`,
  });
}

export interface ServedCallInit {
  readonly deadlineMs: number;
  readonly headers: Headers;
  readonly peer: Peer;
  readonly operation?: Operation | undefined;
}

/** One call under way. Its signal is made only for a handler that asks for it. */
export class ServedCall implements CallContext {
  readonly deadlineMs: number;
  readonly headers: Headers;
  readonly peer: Peer;
  readonly operation?: Operation;
  #controller: AbortController | undefined;
  #abortReason: NsmError | undefined;
  #responseHeaders: Record<string, string> | undefined;
  #headerBytes = 0;
  #headersSent = false;

  constructor(init: ServedCallInit) {
    this.deadlineMs = init.deadlineMs;
    this.headers = init.headers;
    this.peer = init.peer;
    if (init.operation !== undefined) this.operation = init.operation;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  get isAborted(): boolean {
    return this.#abortReason !== undefined;
  }

  abort(reason: NsmError): void {
    if (this.#abortReason !== undefined) return;
    this.#abortReason = reason;
    this.#controller?.abort(reason);
  }

  setHeader(name: string, value: string): void {
    if (this.#headersSent) {
      throw new NsmError('FAILED_PRECONDITION', 'the response headers have been sent', {
        rule: 'response-headers',
        expected: 'headers before the first response message',
      });
    }
    checkHeader(name, value);
    this.#responseHeaders ??= {};
    this.#responseHeaders[name] = value;
    this.#headerBytes += name.length + value.length;
    checkHeaderBounds(Object.keys(this.#responseHeaders).length, this.#headerBytes);
  }

  /** The handler's headers; from now on it can set none. */
  takeHeaders(): Headers {
    this.#headersSent = true;
    return this.#responseHeaders ?? noHeaders;
  }
}

export const noHeaders: Headers = Object.freeze({});

export interface UnaryAnswer {
  readonly message: Message;
  readonly headers: Headers;
}

/** Runs a unary handler. Whatever it throws comes out as an NsmError. */
export async function answerUnary(
  served: ServedMethod,
  request: Message,
  call: ServedCall,
  guard: OperationGuard,
): Promise<UnaryAnswer> {
  const execute = async (): Promise<UnaryAnswer> => {
    const message = (await served.handle(request, call)) as Message;
    checkAnswer(served, message);
    return { message, headers: call.takeHeaders() };
  };
  try {
    if (call.operation === undefined) return await execute();
    const scope = served.method.parent.typeName;
    return await guard.run(scope, call.operation, execute, () => call.isAborted);
  } catch (error) {
    throw asNsmError(error);
  }
}

/** Starts a streaming handler; `input` is the request, or the requests of a bidirectional stream. */
export function answerStream(
  served: ServedMethod,
  input: unknown,
  call: ServedCall,
): AsyncIterable<Message> {
  return served.handle(input, call) as AsyncIterable<Message>;
}

export function checkAnswer(served: ServedMethod, message: Message): void {
  const expected = served.method.output.typeName;
  if (message?.$typeName !== expected) {
    throw new NsmError('INTERNAL', `the handler of ${served.path} answered with a wrong message`, {
      rule: 'handler-answer',
      expected,
      found: String(message?.$typeName),
    });
  }
}

/** Calls in flight of one listener; each has a key that its binding chooses. */
export class CallsInFlight<Call extends { abort(reason: NsmError): void }> {
  readonly #calls = new Set<Call>();
  readonly #watches = new Set<Call>();
  readonly #max: number;
  #onIdle: (() => void) | undefined;

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** Undefined, or why the call cannot be taken. */
  refusal(): NsmError | undefined {
    if (this.#calls.size < this.#max) return undefined;
    return new NsmError('RESOURCE_EXHAUSTED', 'too many calls are in flight', {
      rule: 'calls-in-flight',
      expected: `at most ${this.#max}`,
      found: 'one more',
      remedy: 'call again later',
    });
  }

  /** `isWatch`: it has no end of its own, so a listener that closes does not wait for it. */
  begin(call: Call, isWatch = false): void {
    this.#calls.add(call);
    if (isWatch) this.#watches.add(call);
  }

  end(call: Call): void {
    this.#watches.delete(call);
    if (this.#calls.delete(call) && this.#calls.size === 0) this.#onIdle?.();
  }

  /** Ends watches at once and the others after `graceMs`; resolves once no call is in flight. */
  async drain(clock: Clock, graceMs: number, reason: NsmError): Promise<void> {
    const idle = this.#idle();
    for (const call of this.#watches) call.abort(reason);
    const timer = clock.after(graceMs, () => {
      for (const call of this.#calls) call.abort(reason);
    });
    await idle;
    timer.cancel();
  }

  #idle(): Promise<void> {
    if (this.#calls.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }
}

export function listenerStopped(url: string): NsmError {
  return new NsmError('UNAVAILABLE', 'the peer stops serving', { rule: 'shutdown', found: url });
}
