// One unary call over the simulated network: a message there, a message back, each of which may be late, come twice or
// be lost. Invariants: the caller has an answer or an error by its deadline; the callee drops a call whose time is over
// and one that it is serving already, and runs a repeated operation through its guard, as over the bus.

import type { DescMethod, Message } from '@bufbuild/protobuf';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import {
  cancelledByCaller,
  deadlineExceeded,
  methodPath,
} from '../../protocols/messages/rpc-client.ts';
import type { UnaryAnswer } from '../../protocols/messages/served-call.ts';
import {
  answerUnary,
  listenerStopped,
  noHeaders,
  ServedCall,
  unimplemented,
} from '../../protocols/messages/served-call.ts';
import type { Timer } from '../../protocols/ports/clock.ts';
import type { Peer, UnaryOptions } from '../../protocols/ports/rpc.ts';
import { listenForAbort } from './listen-for-abort.ts';
import type {
  Ending,
  Flight,
  NetworkCore,
  SimulatedHost,
  SimulatedProcess,
} from './simulated-process.ts';
import { mayStep, transmit } from './simulated-process.ts';

/** Where a call goes out from, and to. */
export interface SimulatedCaller {
  readonly core: NetworkCore;
  readonly process: SimulatedProcess;
  readonly url: string;
}

export const simulatedPeer: Peer = Object.freeze({ binding: 'memory' });

type Outcome = { readonly answer: UnaryAnswer } | { readonly error: NsmError };

export function callSimulatedUnary(
  caller: SimulatedCaller,
  method: DescMethod,
  request: Message,
  options: UnaryOptions,
): Promise<Message> {
  return new Promise((resolve, reject) => {
    new UnaryFlight(caller, { method, request, options, resolve, reject }).start();
  });
}

interface Asked {
  readonly method: DescMethod;
  readonly request: Message;
  readonly options: UnaryOptions;
  readonly resolve: (message: Message) => void;
  readonly reject: (error: NsmError) => void;
}

class UnaryFlight implements Flight {
  readonly caller: SimulatedProcess;
  readonly #at: SimulatedCaller;
  readonly #asked: Asked;
  readonly #id: number;
  readonly #deadlineMs: number;
  #timer: Timer | undefined;
  #host: SimulatedHost | undefined;
  #isSettled = false;
  readonly #onAbort = (): void => this.#giveUp(cancelledByCaller(this.#asked.method));

  constructor(at: SimulatedCaller, asked: Asked) {
    this.#at = at;
    this.#asked = asked;
    this.caller = at.process;
    this.#id = at.core.nextId();
    this.#deadlineMs = at.core.clock.nowMs() + asked.options.timeoutMs;
  }

  start(): void {
    const { core, process } = this.#at;
    const { method, options } = this.#asked;
    const { timeoutMs, signal } = options;
    if (!mayStep(process)) return;
    core.flights.add(this);
    this.#timer = process.clock.after(timeoutMs, () =>
      this.#giveUp(deadlineExceeded(method, timeoutMs)),
    );
    if (signal !== undefined) listenForAbort(signal, this.#onAbort);
    core.onEvent(`call ${this.#id} ${process.name} > ${this.#at.url} ${method.name}`);
    this.#transmit(() => this.#arrive());
  }

  callee = (): SimulatedProcess | undefined => this.#host?.process;

  onCalleeEnded(ending: Ending): void {
    const { core, url } = this.#at;
    if (ending === 'reset')
      core.clock.after(core.upTo(1), () => this.#settle({ error: lost(url) }));
  }

  onCallerEnded(ending: Ending): void {
    this.#end();
    const { core } = this.#at;
    if (ending === 'reset') core.clock.after(core.upTo(1), () => this.#cancelThere());
  }

  onDialerClosed(error: NsmError): void {
    this.#settle({ error });
  }

  checkSilence(): void {
    // A call ends by its deadline.
  }

  #transmit(arrive: () => void): void {
    const { core, process, url } = this.#at;
    transmit(core, process.place, core.places.get(url) ?? process.place, arrive);
  }

  #reply(host: SimulatedHost | undefined, outcome: Outcome): void {
    const { core, process, url } = this.#at;
    const from = host?.process.place ?? core.places.get(url) ?? process.place;
    transmit(core, from, process.place, () => this.#settle(outcome));
  }

  #arrive(): void {
    const { core, url } = this.#at;
    const { method } = this.#asked;
    const host = core.hosts.get(url);
    if (host === undefined) {
      this.#reply(undefined, { error: nobody(url) });
      return;
    }
    if (core.clock.nowMs() >= this.#deadlineMs) {
      core.onEvent(`late ${this.#id}`);
      return;
    }
    if (host.byId.has(this.#id)) return;
    const path = methodPath(method);
    const served = host.methods.get(path);
    if (served === undefined) this.#reply(host, { error: unimplemented(path, url) });
    else if (host.isClosing) this.#reply(host, { error: listenerStopped(url) });
    else {
      const refusal = host.calls.refusal();
      if (refusal === undefined) this.#serve(host);
      else this.#reply(host, { error: refusal });
    }
  }

  #serve(host: SimulatedHost): void {
    const { core } = this.#at;
    const { method, request, options } = this.#asked;
    if (!mayStep(host.process)) {
      this.#reply(undefined, { error: nobody(this.#at.url) });
      return;
    }
    const { clock } = host.process;
    this.#host = host;
    const leftMs = this.#deadlineMs - core.clock.nowMs();
    const call = new ServedCall({
      deadlineMs: clock.nowMs() + leftMs,
      headers: options.headers ?? noHeaders,
      peer: simulatedPeer,
      operation: options.operation,
    });
    let isOver = false;
    const end = (): boolean => {
      if (isOver) return false;
      isOver = true;
      timer.cancel();
      host.byId.delete(this.#id);
      host.calls.end(flight);
      return mayStep(host.process);
    };
    const stop = (reason: NsmError): void => {
      call.abort(reason);
      end();
    };
    const flight = {
      abort: (reason: NsmError): void => {
        call.abort(reason);
        if (end()) this.#reply(host, { error: reason });
      },
      cancel: () => stop(cancelledByCaller(method)),
    };
    const timer = clock.after(leftMs, () => stop(deadlineExceeded(method, leftMs)));
    host.byId.set(this.#id, flight);
    host.calls.begin(flight);
    const served = host.methods.get(methodPath(method));
    if (served === undefined) return;
    answerUnary(served, request, call, host.guard).then(
      (answer) => {
        if (end()) this.#reply(host, { answer });
      },
      (error: unknown) => {
        if (end()) this.#reply(host, { error: asNsmError(error) });
      },
    );
  }

  /** The callee is told, so that its handler does not go on for nobody. */
  #giveUp(error: NsmError): void {
    if (this.#isSettled) return;
    this.#transmit(() => this.#cancelThere());
    this.#settle({ error });
  }

  #cancelThere(): void {
    this.#at.core.hosts.get(this.#at.url)?.byId.get(this.#id)?.cancel();
  }

  #settle(outcome: Outcome): void {
    if (this.#isSettled || !mayStep(this.caller) || this.#isSettled) return;
    this.#end();
    const { core } = this.#at;
    const { options, resolve, reject } = this.#asked;
    if ('error' in outcome) {
      core.onEvent(`failed ${this.#id} ${outcome.error.code}`);
      reject(outcome.error);
      return;
    }
    core.onEvent(`answer ${this.#id}`);
    options.onHeaders?.(outcome.answer.headers);
    resolve(outcome.answer.message);
  }

  #end(): void {
    this.#isSettled = true;
    this.#timer?.cancel();
    this.#asked.options.signal?.removeEventListener('abort', this.#onAbort);
    this.#at.core.flights.delete(this);
  }
}

export function nobody(url: string): NsmError {
  return new NsmError('UNAVAILABLE', 'nobody listens at this URL', {
    rule: 'listener',
    found: url,
  });
}

export function lost(url: string): NsmError {
  return new NsmError('UNAVAILABLE', 'the peer went away', { rule: 'connection', found: url });
}
