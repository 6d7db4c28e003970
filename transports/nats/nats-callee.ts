// What a process knows of one component that it calls: its clock, and, where both have an identity, its key. A callee
// that is not known, or not any more, is greeted in place of the call; its answer says whose key and which clock it has,
// and asks for the call to be sent again. So a first call costs one crossing more, with and without identities.

import { NsmError } from '../../protocols/errors.ts';
import type { Frame } from '../../protocols/messages/call-envelope.ts';
import {
  decodeError,
  decodeFrame,
  errorHeader,
  frameHeader,
} from '../../protocols/messages/call-envelope.ts';
import { PeerTime } from '../../protocols/messages/peer-time.ts';
import { helloHeader, strangerHeader } from '../../protocols/messages/seal-lines.ts';
import type { Headers, Peer, TokenPeer } from '../../protocols/ports/rpc.ts';
import type { BusSeals } from './bus-seals.ts';
import type { Session } from './bus-session.ts';
import type { BusMessage, NatsBus } from './nats-bus.ts';

/** A frame of the callee with what came along. */
export interface Reception {
  readonly frame: Pick<Frame, 'kind' | 'count'>;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

/** A message to the callee; what it says may depend on whom it is for. */
export interface CalleeMessage {
  readonly subject: string;
  readonly reply: string;
  readonly compose: (peer: TokenPeer | undefined) => Omit<BusMessage, 'reply'>;
}

/** Who is on the other side of the bus where nobody proves it. */
export const busPeer: Peer = Object.freeze({ binding: 'nats' });

/** A callee that has renewed its SVID, at half of its life, is met anew at this part of what is left of the old one. */
const renewAtPart = 0.8;
/** One that does not renew must not be greeted in an ever faster row. */
const renewAfterMsMin = 1_000;

const noBody = new Uint8Array(0);
/** To be sent again, greeting first. */
const askedToGreet: Reception = {
  frame: { kind: 'resync', count: 0 },
  headers: {},
  body: noBody,
};

export class BusCallee {
  readonly time = new PeerTime();
  readonly #bus: NatsBus;
  readonly #seals: BusSeals | undefined;
  #session: Session | undefined;
  /** It does not know the own key, or not any more. */
  #isStranger = true;
  /** Clock time at which it is to be met anew. */
  #renewAtMs = 0;

  constructor(bus: NatsBus, seals: BusSeals | undefined) {
    this.#bus = bus;
    this.#seals = seals;
  }

  /** Who answered last. */
  get peer(): Peer {
    return this.#session?.peer ?? busPeer;
  }

  /** Tells, from now on, whether both sides are still proven by what proves them now. */
  lease(): () => boolean {
    const [seals, session, untilMs] = [this.#seals, this.#session, this.#renewAtMs];
    if (seals === undefined || session === undefined) return () => true;
    return () => seals.isCurrent(session) && this.#bus.clock.nowMs() < untilMs;
  }

  /** Opens a call, or greets in its place. False where the bus is not there. Errors: RESOURCE_EXHAUSTED, UNAUTHENTICATED. */
  call(message: CalleeMessage): boolean {
    const { subject, reply } = message;
    const seals = this.#seals;
    if (seals !== undefined && !this.#isGreeted(seals)) {
      return this.#bus.publish(subject, { headers: seals.greeting(), body: noBody, reply });
    }
    return this.send(message);
  }

  /** For a call under way. */
  send({ subject, reply, compose }: CalleeMessage): boolean {
    const session = this.#session;
    const message = compose(session?.peer);
    const addressed = reply === '' ? {} : { reply };
    if (this.#seals === undefined) return this.#bus.publish(subject, { ...message, ...addressed });
    // Whoever has never been met has begun nothing.
    if (session === undefined) return true;
    const sealed = this.#seals.seal(session, { subject, reply }, message);
    return this.#bus.publish(subject, { ...sealed, ...addressed });
  }

  /**
   * Undefined for what is no frame of this callee. Errors: UNAUTHENTICATED where it proves nothing, or another identity
   * than before, and what is out of bounds.
   */
  receive(subject: string, headers: Headers, body: Uint8Array): Reception | undefined {
    const seals = this.#seals;
    if (seals === undefined) return this.#observed(headers, body);
    if (headers[strangerHeader] !== undefined) {
      this.#isStranger = true;
      return askedToGreet;
    }
    if (headers[helloHeader] !== undefined) {
      this.#meet(seals, headers);
    }
    const opened = seals.open(headers, { subject, reply: '' }, body);
    if (opened === 'unknown') return unproven(headers);
    if (opened === 'forged') return undefined;
    const { spiffeId } = opened.session.peer;
    // One that was replaced may still answer what it was asked.
    if (spiffeId !== this.#session?.peer.spiffeId) return undefined;
    return this.#observed(opened.headers, opened.body);
  }

  #isGreeted(seals: BusSeals): boolean {
    const session = this.#session;
    if (this.#isStranger || session === undefined || !seals.isCurrent(session)) return false;
    return this.#bus.clock.nowMs() < this.#renewAtMs;
  }

  #meet(seals: BusSeals, headers: Headers): void {
    const session = seals.sessionWith(seals.meet(headers));
    const leftMs = seals.trustLeftMs(session.party);
    const renewAfterMs = Math.min(leftMs, Math.max(renewAfterMsMin, leftMs * renewAtPart));
    this.#renewAtMs = this.#bus.clock.nowMs() + renewAfterMs;
    this.#session = session;
    this.#isStranger = false;
  }

  #observed(headers: Headers, body: Uint8Array): Reception | undefined {
    const frame = decodeFrame(headers[frameHeader]);
    if (frame === undefined) return undefined;
    this.time.observe(frame, this.#bus.clock.nowMs());
    return { frame, headers, body };
  }
}

/** What was not sealed can only tell that a greeting was refused. Throws for that. */
function unproven(headers: Headers): undefined {
  if (decodeFrame(headers[frameHeader]) === undefined) return undefined;
  const refusal = decodeError(headers[errorHeader]);
  throw new NsmError('UNAUTHENTICATED', 'the callee proves no identity', {
    rule: 'bus-seal',
    expected: 'an answer that is sealed with a key of its SVID',
    found:
      refusal === undefined
        ? 'one that is not sealed'
        : `${refusal.code}: ${refusal.message} (${refusal.details.found ?? 'nothing more'})`,
    remedy: 'compare the trust domains of both, and whether either runs with --insecure',
  });
}
