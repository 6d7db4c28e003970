// One stream over the simulated network. Messages keep their order, as of one publisher on a bus; one that is lost
// ends the stream with the next sign of life, which says how many there should be. Signs of life are not sent one by
// one: whoever would miss them is told when they would have been missed.

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
  listenerStopped,
  noHeaders,
  ServedCall,
  unimplemented,
} from '../../protocols/messages/served-call.ts';
import type { Timer } from '../../protocols/ports/clock.ts';
import type { StreamOptions } from '../../protocols/ports/rpc.ts';
import { listenForAbort } from './listen-for-abort.ts';
import type { Ending, Flight, SimulatedHost, SimulatedProcess } from './simulated-process.ts';
import { beatMs, mayStep, silentAfterMs, transmit } from './simulated-process.ts';
import { lost, nobody, type SimulatedCaller, simulatedPeer } from './simulated-unary.ts';

/** Messages that a sender may be ahead of its receiver. */
const window = 64;

export function startSimulatedStream(
  at: SimulatedCaller,
  method: DescMethod,
  requests: StreamRequests,
  options: StreamOptions,
): AsyncIterator<Message> {
  const flight = new StreamFlight(at, method, requests, options);
  flight.start();
  return flight.answers;
}

class StreamFlight implements Flight {
  readonly caller: SimulatedProcess;
  readonly answers: MessageQueue<Message>;
  readonly #at: SimulatedCaller;
  readonly #method: DescMethod;
  readonly #requests: StreamRequests;
  readonly #options: StreamOptions;
  readonly #id: number;
  readonly #deadlineMs: number;
  readonly #room = new Room(window);
  #taken = 0;
  #timer: Timer | undefined;
  #opening: Timer | undefined;
  #up: Pump | undefined;
  #served: ServedStream | undefined;
  /** No message arrives before the one sent before it. */
  #lastArrivalMs = 0;
  #isEnded = false;
  readonly #onAbort = (): void => this.#giveUp(cancelledByCaller(this.#method));

  constructor(
    at: SimulatedCaller,
    method: DescMethod,
    requests: StreamRequests,
    options: StreamOptions,
  ) {
    this.#at = at;
    this.#method = method;
    this.#requests = requests;
    this.#options = options;
    this.caller = at.process;
    this.#id = at.core.nextId();
    this.#deadlineMs = at.core.clock.nowMs() + (options.timeoutMs ?? Infinity);
    this.answers = new MessageQueue<Message>({
      onTake: () => {
        this.#taken += 1;
        this.#room.grant(this.#taken + window);
      },
      onReturn: this.#onAbort,
    });
  }

  start(): void {
    const { core, process, url } = this.#at;
    const { timeoutMs, signal } = this.#options;
    if (!mayStep(process)) return;
    core.flights.add(this);
    if (signal !== undefined) listenForAbort(signal, this.#onAbort);
    if (timeoutMs !== undefined) {
      this.#timer = process.clock.after(timeoutMs, () =>
        this.#giveUp(deadlineExceeded(this.#method, timeoutMs)),
      );
    }
    core.onEvent(`stream ${this.#id} ${process.name} > ${url} ${this.#method.name}`);
    // Nobody has answered: that is silence too.
    const silentMs = silentAfterMs + core.upTo(beatMs);
    this.#opening = process.clock.after(silentMs, () => this.#giveUp(silent(url)));
    this.#send(() => this.#arrive());
  }

  callee = (): SimulatedProcess | undefined => this.#served?.host.process;

  onCalleeEnded(ending: Ending): void {
    const { core, process, url } = this.#at;
    const afterMs = ending === 'reset' ? core.upTo(1) : core.upTo(beatMs);
    core.clock.after(afterMs, () => {
      // Behind a cut link the end is silence, which the look at silence finds.
      if (this.#cut(process.place) === undefined) this.#end(lost(url));
      else core.clock.after(silentAfterMs, () => this.#end(silent(url)));
    });
  }

  onCallerEnded(ending: Ending): void {
    const { core } = this.#at;
    this.#forget();
    const afterMs = ending === 'reset' ? core.upTo(1) : silentAfterMs + core.upTo(beatMs);
    core.clock.after(afterMs, () => this.#served?.stop(cancelledByCaller(this.#method)));
  }

  onDialerClosed(error: NsmError): void {
    this.#giveUp(error);
  }

  checkSilence(): void {
    const { core, process, url } = this.#at;
    const sinceMs = this.#cut(process.place);
    if (sinceMs === undefined || core.clock.nowMs() - sinceMs < silentAfterMs) return;
    this.#served?.stop(cancelledByCaller(this.#method));
    this.#end(silent(url));
  }

  /** Since when one of the two ways is cut. */
  #cut(place: string): number | undefined {
    const { links } = this.#at.core;
    const there = this.#place();
    return links.cutSinceMs(place, there) ?? links.cutSinceMs(there, place);
  }

  #place(): string {
    const { core, process, url } = this.#at;
    return this.#served?.host.process.place ?? core.places.get(url) ?? process.place;
  }

  #send(arrive: () => void): void {
    transmit(this.#at.core, this.caller.place, this.#place(), arrive);
  }

  #arrive(): void {
    const { core, url } = this.#at;
    if (this.#isEnded || this.#served !== undefined) return;
    const host = core.hosts.get(url);
    const path = methodPath(this.#method);
    const served = host?.methods.get(path);
    const refuse = (error: NsmError): void => this.receive(host, () => this.#end(error));
    if (host === undefined) refuse(nobody(url));
    else if (served === undefined) refuse(unimplemented(path, url));
    else if (host.isClosing) refuse(listenerStopped(url));
    else {
      const refusal = host.calls.refusal();
      if (refusal === undefined) this.#serve(host, served);
      else refuse(refusal);
    }
  }

  #serve(host: SimulatedHost, served: ServedMethod): void {
    const { core } = this.#at;
    const leftMs = this.#deadlineMs - core.clock.nowMs();
    if (leftMs <= 0) return;
    this.#opening?.cancel();
    const call = new ServedCall({
      deadlineMs: host.process.clock.nowMs() + leftMs,
      headers: this.#options.headers ?? noHeaders,
      peer: simulatedPeer,
    });
    const stream = new ServedStream({ host, served, call, id: this.#id, leftMs });
    this.#served = stream;
    const requests = this.#requests;
    if (requests.kind === 'many') {
      this.#up = startPump(() => requests.messages, {
        room: () => undefined,
        write: (message) => this.#send(() => stream.input.push(message)),
        end: (error) => this.#send(() => stream.input.end(error)),
      });
    }
    stream.run(requests.kind === 'one' ? requests.message : stream.input, {
      room: () => this.#room.wait(),
      write: (message) => {
        this.#room.take();
        this.receive(host, () => this.answers.push(message));
      },
      end: (error) => this.receive(host, () => this.#end(error)),
    });
  }

  /** A message on its way back to the caller, behind those before it. */
  private receive(host: SimulatedHost | undefined, arrive: () => void): void {
    const { core } = this.#at;
    const from = host?.process.place ?? this.#place();
    if (host !== undefined && !mayStep(host.process)) return;
    const [delayMs] = core.links.carry(from, this.caller.place);
    if (delayMs === undefined) {
      core.clock.after(core.upTo(beatMs), () => {
        if (this.#cut(this.caller.place) === undefined) this.#giveUp(gap(this.#at.url));
      });
      return;
    }
    const nowMs = core.clock.nowMs();
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, nowMs + delayMs);
    core.clock.after(this.#lastArrivalMs - nowMs, () => {
      if (!this.#isEnded) arrive();
    });
  }

  #giveUp(error: NsmError): void {
    if (this.#isEnded) return;
    this.#send(() => this.#served?.stop(cancelledByCaller(this.#method)));
    if (error.code === 'CANCELLED' || error.code === 'DEADLINE_EXCEEDED') this.answers.abort(error);
    this.#end(error);
  }

  #end(error: NsmError | undefined): void {
    if (this.#isEnded) return;
    this.#forget();
    this.#at.core.onEvent(`ended ${this.#id} ${error?.code ?? 'OK'}`);
    this.answers.end(error);
  }

  #forget(): void {
    this.#isEnded = true;
    this.#timer?.cancel();
    this.#opening?.cancel();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#up?.stop();
    this.#at.core.flights.delete(this);
  }
}

interface Serving {
  readonly host: SimulatedHost;
  readonly served: ServedMethod;
  readonly call: ServedCall;
  readonly id: number;
  readonly leftMs: number;
}

interface Answers {
  readonly room: () => Promise<void> | undefined;
  readonly write: (message: Message) => void;
  readonly end: (error: NsmError | undefined) => void;
}

class ServedStream {
  readonly host: SimulatedHost;
  readonly input = new MessageQueue<Message>();
  readonly #serving: Serving;
  readonly #flight: { abort(reason: NsmError): void; cancel(): void };
  #end: (error: NsmError | undefined) => void = () => {};
  #timer: Timer | undefined;
  #pump: Pump | undefined;
  #isOver = false;

  constructor(serving: Serving) {
    const { host, served, leftMs, id } = serving;
    this.host = host;
    this.#serving = serving;
    this.#flight = {
      abort: (reason) => {
        if (this.stop(reason)) this.#end(reason);
      },
      cancel: () => void this.stop(cancelledByCaller(served.method)),
    };
    if (leftMs !== Infinity) {
      this.#timer = host.process.clock.after(leftMs, () =>
        this.stop(deadlineExceeded(served.method, leftMs)),
      );
    }
    host.byId.set(id, this.#flight);
    host.calls.begin(this.#flight, leftMs === Infinity);
  }

  run(request: unknown, answers: Answers): void {
    const { served, call } = this.#serving;
    this.#end = answers.end;
    this.#pump = startPump(() => answerStream(served, request, call), {
      room: answers.room,
      write: (message) => {
        checkAnswer(served, message);
        call.takeHeaders();
        answers.write(message);
      },
      end: (error) => {
        this.stop(cancelledByCaller(served.method));
        answers.end(error);
      },
    });
  }

  stop(reason: NsmError): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    const { host, call, id } = this.#serving;
    this.#timer?.cancel();
    host.byId.delete(id);
    host.calls.end(this.#flight);
    call.abort(reason);
    this.#pump?.stop();
    this.input.abort(reason);
    return host.process.isAlive;
  }
}

function silent(url: string): NsmError {
  return new NsmError('UNAVAILABLE', 'the peer fell silent', { rule: 'stream-beat', found: url });
}

function gap(url: string): NsmError {
  return new NsmError('UNAVAILABLE', 'messages of the stream were lost', {
    rule: 'stream-gap',
    found: url,
    remedy: 'open the stream again and resync',
  });
}
