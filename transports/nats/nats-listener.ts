// The serving side of the bus: one wildcard subscription per component, taken apart here. A call is begun only when
// it names this very instance and its time, told on this instance's clock, is not over (peer-time.ts); a stranger's
// message is refused or dropped and never ends the process.

import type { Msg } from '@nats-io/transport-node';
import { nuid } from '@nats-io/transport-node';
import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import { formats } from '../../protocols/formats.ts';
import type { FrameKind } from '../../protocols/messages/call-envelope.ts';
import {
  callHeader,
  decodeCall,
  decodeFrame,
  decodeOperation,
  encodeError,
  encodeFrame,
  errorHeader,
  frameHeader,
  operationHeader,
} from '../../protocols/messages/call-envelope.ts';
import { helloHeader, sealHeader, strangerHeader } from '../../protocols/messages/seal-lines.ts';
import type { OperationGuard } from '../../protocols/messages/operation-guard.ts';
import { createOperationGuard } from '../../protocols/messages/operation-guard.ts';
import type { ServedMethod } from '../../protocols/messages/served-call.ts';
import {
  CallsInFlight,
  listenerStopped,
  ServedCall,
  servedMethods,
  unimplemented,
} from '../../protocols/messages/served-call.ts';
import {
  callToken,
  componentSubject,
  methodSuffix,
  parseBusUrl,
} from '../../protocols/messages/subjects.ts';
import type {
  Headers,
  Listener,
  Listening,
  Operation,
  ServedService,
} from '../../protocols/ports/rpc.ts';
import type { OnRefused } from '../../protocols/ports/refusal.ts';
import { readHeaderBlock, userHeaders } from './header-block.ts';
import type { BusSubscription } from './lasting-subscriptions.ts';
import {
  forgedSeal,
  notACall,
  readableSuffix,
  tooNew,
  unknownStream,
} from './listener-refusals.ts';
import type { NatsBus } from './nats-bus.ts';
import type { BusSeals } from './bus-seals.ts';
import type { Session } from './bus-session.ts';
import { busPeer } from './nats-callee.ts';
import { defaultBeatMs } from './nats-dialer.ts';
import type {
  BusHost,
  BusServedCall,
  FrameContent,
  IncomingCall,
  ReplyTo,
} from './nats-served-call.ts';
import { decodeRequest } from './nats-served-call.ts';
import { serveBusStream } from './nats-served-stream.ts';
import { serveBusUnary } from './nats-served-unary.ts';
import { refuseSecond } from './one-listener.ts';
import { StreamTicker } from './stream-ticker.ts';

export interface NatsListenerOptions {
  /** Calls and streams in flight per component; beyond it a call is refused with RESOURCE_EXHAUSTED. */
  readonly callsMax?: number;
  /** As in NatsDialerOptions. */
  readonly beatMs?: number;
  /** Of a process that has an identity: who calls is known by it; a call without is one of nobody. */
  readonly seals?: BusSeals;
  /** Told of each greeting, seal and call that is turned away here, besides the log. */
  readonly onRefused?: OnRefused;
  /** The guard of one component; by default each has its own with default bounds. */
  readonly createGuard?: () => OperationGuard;
}

const noBody = new Uint8Array(0);

export function createNatsListener(bus: NatsBus, options: NatsListenerOptions = {}): Listener {
  return {
    listen: async (url: string, services: readonly ServedService[]): Promise<Listening> => {
      const host = new Host(bus, url, services, options);
      await host.start();
      return { url, close: (graceMs) => host.close(graceMs) };
    },
  };
}

/** How long `listen` waits for the server to have taken the subscription, so that no call meets nobody. */
const subscribeTimeoutMs = 5000;

class Host implements BusHost {
  readonly bus: NatsBus;
  readonly ticker: StreamTicker;
  readonly guard: OperationGuard;
  readonly #url: string;
  readonly #subject: string;
  readonly #instance = nuid.next();
  readonly #seals: BusSeals | undefined;
  readonly #onRefused: OnRefused | undefined;
  readonly #methods = new Map<string, ServedMethod>();
  readonly #inFlight: CallsInFlight<BusServedCall>;
  readonly #calls = new Map<string, BusServedCall>();
  #subscription: BusSubscription | undefined;
  #stopStatus: (() => void) | undefined;
  #closing = false;

  constructor(
    bus: NatsBus,
    url: string,
    services: readonly ServedService[],
    options: NatsListenerOptions,
  ) {
    this.bus = bus;
    this.#url = url;
    this.#seals = options.seals;
    this.#onRefused = options.onRefused;
    this.#subject = componentSubject(parseBusUrl(url));
    this.ticker = new StreamTicker(bus.clock, options.beatMs ?? defaultBeatMs);
    this.guard = options.createGuard?.() ?? createOperationGuard({ clock: bus.clock });
    this.#inFlight = new CallsInFlight(options.callsMax ?? 10_000);
    for (const served of servedMethods(services).values()) {
      const { method } = served;
      this.#methods.set(methodSuffix(method.parent.typeName, method.name), served);
    }
  }

  async start(): Promise<void> {
    await this.bus.ready(subscribeTimeoutMs);
    await refuseSecond(this.bus, this.#url, this.#instance);
    this.#subscription = this.bus.subscribe(`${this.#subject}.>`, {
      // While a connection replaces another, both are there, and one gets each message.
      queue: this.#instance,
      callback: (error, message) => {
        if (error === null) this.#onMessage(message);
      },
    });
    this.#stopStatus = this.bus.onStatus((status) => {
      if (status !== 'connected') for (const call of this.#calls.values()) call.onBusLost();
    });
    await this.#flush();
  }

  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    await this.#inFlight.drain(this.bus.clock, graceMs, listenerStopped(this.#url));
    this.#stopStatus?.();
    if (this.bus.status === 'closed') return;
    this.#subscription?.unsubscribe();
    if (this.bus.status === 'connected') await this.#flush().catch(() => {});
  }

  begin(id: string, call: BusServedCall, isWatch: boolean): void {
    this.#calls.set(id, call);
    this.#inFlight.begin(call, isWatch);
  }

  end(id: string, call: BusServedCall): void {
    if (this.#calls.get(id) === call) this.#calls.delete(id);
    this.#inFlight.end(call);
  }

  isTrusted({ session }: ReplyTo): boolean {
    return session === undefined || this.#seals?.isTrusted(session.party) === true;
  }

  send(to: ReplyTo, kind: FrameKind, count: number, content: FrameContent = {}): void {
    const sentAt = this.bus.clock.nowMs();
    const line = encodeFrame({ kind, count, instance: this.#instance, sentAt });
    const { headers = {}, body = noBody } = content;
    this.#publish(to, { headers: { ...headers, [frameHeader]: line }, body });
  }

  refuse(to: ReplyTo, error: NsmError): void {
    try {
      this.send(to, 'refuse', 0, { headers: { [errorHeader]: encodeError(error) } });
    } catch (cause) {
      // A server whose max_payload is smaller than an error; nothing thrown may reach the library's reader.
      this.bus.log.warn('could not send a refusal', { code: error.code, cause: String(cause) });
    }
  }

  #publish({ subject, session, greeting }: ReplyTo, message: Required<FrameContent>): void {
    if (session === undefined || this.#seals === undefined) this.bus.publish(subject, message);
    else {
      const { headers, body } = this.#seals.seal(session, { subject, reply: '' }, message);
      this.bus.publish(subject, { headers: { ...greeting, ...headers }, body });
    }
  }

  #flush(): Promise<void> {
    const { bus } = this;
    return new Promise((resolve, reject) => {
      const timer = bus.clock.after(subscribeTimeoutMs, () =>
        reject(
          new NsmError('UNAVAILABLE', 'the bus did not take the subscription in time', {
            rule: 'bus-subscribe',
            found: this.#url,
          }),
        ),
      );
      bus.flush().then(
        () => {
          timer.cancel();
          resolve();
        },
        (cause: unknown) => {
          timer.cancel();
          reject(new NsmError('UNAVAILABLE', 'the bus was lost', { rule: 'bus-subscribe', cause }));
        },
      );
    });
  }

  #onMessage(message: Msg): void {
    let to: ReplyTo = { subject: message.reply ?? '' };
    try {
      const { headers } = readHeaderBlock(message);
      if (headers[helloHeader] !== undefined && this.#seals !== undefined) {
        this.#meet(this.#seals, headers, to);
        return;
      }
      const opened = this.#open(headers, message);
      if (opened === undefined) return;
      to = { ...to, ...opened.from };
      const suffix = message.subject.slice(this.#subject.length + 1);
      if (suffix.startsWith(`${callToken}.`)) {
        this.#onControl(suffix.slice(callToken.length + 1), opened, to);
      } else if (to.subject !== '') this.#onCall(suffix, opened, to);
    } catch (error) {
      const refusal = asNsmError(error);
      this.bus.log.debug('refused a message', { code: refusal.code, error: refusal.message });
      if (to.subject !== '') this.refuse(to, refusal);
    }
  }

  /** The answer tells the caller both whose key it has and what the time here is. */
  #meet(seals: BusSeals, headers: Headers, { subject }: ReplyTo): void {
    try {
      const session = seals.sessionWith(seals.meet(headers));
      if (subject === '') return;
      this.send({ subject, session, greeting: seals.greeting() }, 'resync', 0);
    } catch (error) {
      this.#refused('a greeting', asNsmError(error));
      throw error;
    }
  }

  /** Undefined for what is for nobody here. A message that names no keys is one of nobody. */
  #open(headers: Headers, message: Msg): Opened | undefined {
    const { subject, reply = '', data } = message;
    if (this.#seals === undefined || headers[sealHeader] === undefined) {
      return { headers, body: data, from: {} };
    }
    const opened = this.#seals.open(headers, { subject, reply }, data);
    if (opened === 'unknown') {
      if (reply !== '')
        this.bus.publish(reply, { headers: { [strangerHeader]: '1' }, body: noBody });
      return undefined;
    }
    if (opened !== 'forged') return { ...opened, from: { session: opened.session } };
    // Not answered: the bus may deliver twice, and the caller must not hear no to what was heard.
    this.#refused('a message', forgedSeal(subject));
    return undefined;
  }

  #refused(what: string, error: NsmError): void {
    this.bus.log.warn(`refused ${what}`, { url: this.#url, error: describeError(error) });
    this.#onRefused?.({ error });
  }

  #onControl(id: string, { headers, body }: Opened, to: ReplyTo): void {
    const frame = decodeFrame(headers[frameHeader]);
    if (frame === undefined) return;
    const call = this.#calls.get(id);
    if (call !== undefined) {
      if (call.caller === to.session?.peer.spiffeId) call.onFrame(frame, body);
    } else if (to.subject !== '' && frame.kind !== 'cancel') this.refuse(to, unknownStream());
  }

  #onCall(suffix: string, { headers, body }: Opened, to: ReplyTo): void {
    const served = this.#methods.get(suffix);
    if (served === undefined) throw unimplemented(readableSuffix(suffix), this.#url);
    const opening = decodeCall(headers[callHeader]);
    if (opening === undefined) throw notACall(callHeader, headers[callHeader]);
    if (opening.instance !== this.#instance) {
      this.send(to, 'resync', 0);
      return;
    }
    if ((opening.version ?? 1) > formats.callEnvelope) throw tooNew(opening.version);
    const nowMs = this.bus.clock.nowMs();
    if (opening.startBy <= nowMs || opening.deadline <= nowMs) {
      this.bus.log.debug('dropped a call whose time was over', { path: served.path });
      return;
    }
    // The bus delivered one call twice: its first delivery answers.
    if (this.#calls.has(opening.id)) return;
    if (this.#closing) throw listenerStopped(this.#url);
    this.#requireRoom(served, to);
    const call = new ServedCall({
      deadlineMs: opening.deadline,
      headers: userHeaders(headers),
      peer: to.session?.peer ?? busPeer,
      operation: readOperation(headers[operationHeader]),
    });
    const request = decodeRequest(served, body);
    const incoming: IncomingCall = { host: this, served, opening, reply: to, request, call };
    if (served.method.methodKind === 'unary') serveBusUnary(incoming);
    else serveBusStream(incoming);
  }

  #requireRoom({ method }: ServedMethod, { session }: ReplyTo): void {
    const error = this.#inFlight.refusal();
    if (error === undefined) return;
    const peer = session?.peer.spiffeId;
    this.#onRefused?.({ error, operation: method.name, ...(peer !== undefined && { peer }) });
    throw error;
  }
}

/** A message as its sender made it. */
interface Opened {
  readonly headers: Headers;
  readonly body: Uint8Array;
  readonly from: { readonly session?: Session };
}

function readOperation(line: string | undefined): Operation | undefined {
  if (line === undefined) return undefined;
  const operation = decodeOperation(line);
  if (operation === undefined) throw notACall(operationHeader, line);
  return operation;
}
