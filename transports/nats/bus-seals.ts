// How a process proves itself on the bus, where no TLS connection joins it to its peer. For each SVID it makes a key and
// signs, with the key of the SVID, that it is its own; a peer that has been greeted with that and with the certificates
// knows whose messages are sealed with it (bus-session.ts). So a call over the bus is proven by the certificate of its
// caller, as one over TLS is, and nobody between can read, change, repeat or redirect it.
// Invariants: a party counts as long as its certificates and the bundle of its own trust domain do, and no longer; own
// keys end with their SVID; what is kept is bounded.

import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describeError, NsmError } from '../../protocols/errors.ts';
import {
  audienceOfKey,
  chainHeader,
  decodeChain,
  decodeSeal,
  encodeChain,
  encodeSeal,
  helloHeader,
  keyOfAudience,
  sealHeader,
} from '../../protocols/messages/seal-lines.ts';
import type { WallClock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Identity } from '../../protocols/ports/identity.ts';
import type { Headers } from '../../protocols/ports/rpc.ts';
import { type OwnKey, type Party, type Route, Session } from './bus-session.ts';
import { decodeHeaderBlock, encodeHeaderBlock } from './header-block.ts';
import type { BusMessage } from './nats-bus.ts';

export interface BusSealsOptions {
  readonly identity: Identity;
  /** Judges when certificates end. */
  readonly wallClock: WallClock;
  readonly log: Log;
}

/** A message that somebody who is known has made for this process. */
export interface OpenedMessage {
  readonly session: Session;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

interface GreetingKey extends OwnKey {
  readonly endsAtMs: number;
  readonly greeting: Headers;
}

/** Peers remembered; one that is forgotten has to greet again. */
const partiesMax = 4096;
/** A key that was replaced still opens what is on its way. */
const ownKeysMax = 4;

export class BusSeals {
  readonly #identity: Identity;
  readonly #wallClock: WallClock;
  readonly #unwatch: () => void;
  /** Newest first. */
  #ownKeys: readonly GreetingKey[] = [];
  /** Latest used last. */
  readonly #parties = new Map<string, Party>();
  readonly #sessions = new WeakMap<Party, Map<string, Session>>();

  /** Errors: FAILED_PRECONDITION where the SVID's key signs no tokens. */
  constructor({ identity, wallClock, log }: BusSealsOptions) {
    this.#identity = identity;
    this.#wallClock = wallClock;
    this.#renew();
    this.#unwatch = identity.watch(() => {
      try {
        this.#renew();
      } catch (error) {
        // The keys before it serve on, until their SVID ends.
        log.error('made no key for the bus', { error: describeError(error) });
      }
    });
  }

  /** Shows the own key to who does not know it. Errors: UNAUTHENTICATED while this process has no identity. */
  greeting(): Headers {
    return this.#current().greeting;
  }

  /** Whether messages of that session will be opened, and should be sent. */
  isCurrent({ own, party }: Session): boolean {
    return this.#ownKeys[0] === own && this.isTrusted(party);
  }

  isTrusted(party: Party): boolean {
    return this.#parties.get(party.key) === party && this.trustLeftMs(party) > 0;
  }

  trustLeftMs({ endsAtMs }: Party): number {
    return endsAtMs - this.#wallClock.epochMs();
  }

  /**
   * Who a greeting is of; remembered. Errors: UNAUTHENTICATED with the rule that is broken: the certificates, the
   * token that speaks for the key, or its end.
   */
  meet(headers: Headers): Party {
    const token = headers[helloHeader] ?? '';
    const chain = decodeChain(headers[chainHeader]) ?? [];
    const { spiffeId, leaf, notAfterMs } = this.#identity.verifyPeer(chain);
    const { subject, audience, expiresAtMs } = this.#identity.verifyPathToken(token, leaf);
    const key = keyOfAudience(audience);
    const endsAtMs = Math.min(notAfterMs, expiresAtMs);
    if (subject !== spiffeId) throw notItsKey(`a token of ${spiffeId}`, `one of ${subject}`);
    if (key === undefined)
      throw notItsKey('a token for a key of the bus', 'one for something else');
    if (endsAtMs <= this.#wallClock.epochMs()) throw notItsKey('a token of now', 'an expired one');
    const known = this.#parties.get(key);
    if (known !== undefined) return known;
    const publicKey = createPublicKey({
      key: { kty: 'OKP', crv: 'X25519', x: key },
      format: 'jwk',
    });
    const peer = Object.freeze({ binding: 'nats' as const, spiffeId, leaf });
    const party = { key, publicKey, peer, chain, endsAtMs };
    this.#remember(party);
    return party;
  }

  /** With the own key of now. Errors: UNAUTHENTICATED while this process has no identity. */
  sessionWith(party: Party): Session {
    return this.#session(this.#current(), party);
  }

  seal(session: Session, route: Route, { headers, body }: Omit<BusMessage, 'reply'>): BusMessage {
    const block = encodeHeaderBlock(headers);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(block.length);
    const sealed = session.seal(route, [length, block, body]);
    const { own, party } = session;
    const line = encodeSeal({ from: own.key, to: party.key, count: sealed.count });
    return { headers: { [sealHeader]: line }, body: sealed.body };
  }

  /**
   * `unknown`: it names no keys, or one that is not known here, or not any more. `forged`: the sender has not made it
   * for this route, or it came before.
   */
  open(headers: Headers, route: Route, body: Uint8Array): OpenedMessage | 'unknown' | 'forged' {
    const line = decodeSeal(headers[sealHeader]);
    if (line === undefined) return 'unknown';
    const party = this.#parties.get(line.from);
    const own = this.#ownKeys.find(({ key }) => key === line.to);
    if (party === undefined || own === undefined || !this.isTrusted(party)) return 'unknown';
    if (own.endsAtMs <= this.#wallClock.epochMs()) return 'unknown';
    const session = this.#session(own, party);
    const opened = session.open(route, line.count, body);
    if (opened === undefined) return 'forged';
    const view = new DataView(opened.buffer, opened.byteOffset, opened.length);
    const bodyAt = 4 + (opened.length < 4 ? 0 : view.getUint32(0));
    if (opened.length < bodyAt) return 'forged';
    this.#remember(party);
    const { headers: inner } = decodeHeaderBlock(opened.subarray(4, bodyAt));
    return { session, headers: inner, body: opened.subarray(bodyAt) };
  }

  close(): void {
    this.#unwatch();
    this.#ownKeys = [];
    this.#parties.clear();
  }

  #current(): GreetingKey {
    const [current] = this.#ownKeys;
    if (current !== undefined) return current;
    throw new NsmError('UNAUTHENTICATED', 'this process has no identity to call with', {
      rule: 'own-identity',
      expected: 'an X.509-SVID of the Workload API',
      found: 'none so far, or it was withdrawn',
    });
  }

  #session(own: OwnKey, party: Party): Session {
    let sessions = this.#sessions.get(party);
    if (sessions === undefined) this.#sessions.set(party, (sessions = new Map()));
    let session = sessions.get(own.key);
    if (session === undefined) sessions.set(own.key, (session = new Session(own, party)));
    return session;
  }

  #remember(party: Party): void {
    this.#parties.delete(party.key);
    this.#parties.set(party.key, party);
    if (this.#parties.size <= partiesMax) return;
    this.#parties.delete(this.#parties.keys().next().value as string);
  }

  /** A key for a new SVID; and who is no longer covered by a new bundle is forgotten. */
  #renew(): void {
    const svid = this.#identity.current()?.svid;
    if (svid === undefined) {
      this.#ownKeys = [];
      this.#parties.clear();
      return;
    }
    for (const [key, { chain }] of this.#parties)
      if (!this.#covers(chain)) this.#parties.delete(key);
    const [leaf] = svid.chain;
    if (leaf === undefined || this.#ownKeys[0]?.leaf === leaf) return;
    const pair = generateKeyPairSync('x25519');
    const key = pair.publicKey.export({ format: 'jwk' }).x as string;
    const leftMs = svid.notAfterMs - this.#wallClock.epochMs();
    const { token } = this.#identity.signPathToken(audienceOfKey(key), leftMs);
    const greeting = { [helloHeader]: token, [chainHeader]: encodeChain(svid.chain) };
    const end = { endsAtMs: svid.notAfterMs };
    const made = { key, secret: pair.privateKey, sent: 0, leaf, greeting, ...end };
    this.#ownKeys = [made, ...this.#ownKeys].slice(0, ownKeysMax);
  }

  #covers(chain: readonly Uint8Array[]): boolean {
    try {
      this.#identity.verifyPeer(chain);
      return true;
    } catch {
      return false;
    }
  }
}

function notItsKey(expected: string, found: string): NsmError {
  return new NsmError('UNAUTHENTICATED', 'the greeting proves no key', {
    rule: 'bus-greeting',
    expected,
    found,
  });
}
