// One grpc-js client: over TLS it proves one SVID and knows who the peer is. It is never changed: when its SVID or the
// bundles change, or before trust in its peer ends, it is retired. Then new calls go to another line, streams end and
// are opened again by whoever needs them, unary calls may finish, and all that is left is cut when trust ends.
// The raw client's own methods are used and no client class is generated: there the RPC `Close` of NetworkService
// would hide the client's `close`.

import type { ChannelCredentials, ChannelOptions, Metadata } from '@grpc/grpc-js';
import { CallCredentials, Client, credentials } from '@grpc/grpc-js';
import type { PeerCertificate } from 'node:tls';
import type { NsmError } from '../../protocols/errors.ts';
import { asNsmError } from '../../protocols/errors.ts';
import { connectionReplaced } from '../../protocols/messages/replaced-connection.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { VerifiedPeer } from '../../protocols/ports/identity.ts';
import type { CallHeaders, Headers, Operation, Peer } from '../../protocols/ports/rpc.ts';
import { presentedChain } from '../../protocols/spiffe/tls-material.ts';
import type { Descriptor, PeerDescriptors } from '../../protocols/ports/descriptors.ts';
import type { FdPassing } from './passing-credentials.ts';
import { PassingCredentials } from './passing-credentials.ts';
import { toMetadata } from './grpc-metadata.ts';
import type { MutualTls, OwnSide } from './mutual-tls.ts';

/** A call or stream of a line. */
export interface LineCall {
  /** It has no end of its own. */
  readonly isStream: boolean;
  /** Go ahead of it, on whichever connection it takes. */
  readonly descriptors?: readonly Descriptor[];
  /** Cancels it; its caller gets `reason`. */
  end(reason: NsmError): void;
}

type OwnTls = MutualTls & { readonly own: OwnSide };

export interface LineInit {
  readonly url: string;
  /** As grpc-js wants it. */
  readonly target: string;
  readonly channelOptions: ChannelOptions;
  readonly clock: Clock;
  /** Undefined for plaintext. */
  readonly tls: OwnTls | undefined;
  readonly callHeaders: CallHeaders | undefined;
  /** Of a unix socket that may carry descriptors. */
  readonly fdPassing: FdPassing | undefined;
  /** It is not to be used for new calls any more. */
  readonly onRetired: () => void;
  readonly onClosed: () => void;
}

/**
 * A peer renews its SVID at half of its life (SPIRE, and `vwire identity`) and is met anew at this part of what was left of
 * the old one. What is said on a connection, tokens included, ends with the peer's certificate: it must not come close.
 */
const retireAtPart = 0.4;
/** A peer that does not renew must not be asked in an ever faster row. */
const retireAfterMsMin = 1_000;

/** Node's HTTP/2 ends a connection with all its calls where more are cancelled: 1,000 at once, or 33 a second. */
const cancelledMax = 700;
const cancelledPerMs = 0.03;

export class Line {
  readonly client: Client;
  readonly #init: LineInit;
  readonly #calls = new Set<LineCall>();
  readonly #timers: Timer[] = [];
  #peer: Peer = { binding: 'grpc' };
  /** Of the newest connection. */
  #descriptors: PeerDescriptors | undefined;
  #refusal: NsmError | undefined;
  #endsAtMs = Infinity;
  /** Calls that were cancelled lately. */
  #cancelled = 0;
  #cancelledMs = 0;
  #retired = false;
  #closed = false;

  constructor(init: LineInit) {
    this.#init = init;
    this.client = new Client(init.target, this.#credentials(), init.channelOptions);
  }

  /** Who is at the other end, from the first handshake on. */
  get peer(): Peer {
    return this.#peer;
  }

  /** Why the peer of the last handshake was refused. */
  get refusal(): NsmError | undefined {
    return this.#refusal;
  }

  /** A call's headers as they go out; those that are made for each call come in grpc-js's own time. */
  metadataOf(headers: Headers | undefined, operation?: Operation): Metadata {
    const metadata = toMetadata(headers, operation);
    for (const name of this.#init.callHeaders?.names ?? []) metadata.remove(name);
    return metadata;
  }

  begin(call: LineCall): void {
    this.#calls.add(call);
    this.#sendDescriptors(call);
  }

  end(call: LineCall): void {
    if (this.#calls.delete(call) && this.#retired) this.#closeWhenIdle();
  }

  /** A call was given up; the others must not pay for it. */
  cancelled(): void {
    const nowMs = this.#init.clock.nowMs();
    const forgotten = (nowMs - this.#cancelledMs) * cancelledPerMs;
    this.#cancelled = Math.max(0, this.#cancelled - forgotten) + 1;
    this.#cancelledMs = nowMs;
    if (this.#cancelled >= cancelledMax) this.retire('one on which many calls were cancelled');
  }

  retire(found: string): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#init.onRetired();
    const reason = connectionReplaced(this.#init.url, found);
    for (const call of this.#calls) if (call.isStream) call.end(reason);
    this.#closeWhenIdle();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const timer of this.#timers.splice(0)) timer.cancel();
    this.client.close();
    this.#init.onClosed();
  }

  #closeWhenIdle(): void {
    if (this.#calls.size === 0) this.close();
  }

  #credentials(): ChannelCredentials {
    const { tls, callHeaders, fdPassing } = this.#init;
    if (tls === undefined) return credentials.createInsecure();
    this.#followEnd(tls, tls.own.notAfterMs);
    const secure = credentials.createFromSecureContext(tls.own.context, {
      checkServerIdentity: (_host, certificate) => this.#judge(tls, certificate),
    });
    const channel = fdPassing
      ? new PassingCredentials(secure, fdPassing, (descriptors) => this.#connected(descriptors))
      : secure;
    if (callHeaders === undefined) return channel;
    // They are asked for once a connection is there, so the peer is known.
    const perCall = CallCredentials.createFromMetadataGenerator((_, answer) =>
      answer(null, toMetadata(callHeaders.make(this.#peer))),
    );
    return credentials.combineChannelCredentials(channel, perCall);
  }

  /** Calls that wait for this connection, or lost the one before, take theirs along. */
  #connected(descriptors: PeerDescriptors): void {
    this.#descriptors = descriptors;
    this.#peer = Object.freeze({ ...this.#peer, descriptors });
    for (const call of this.#calls) this.#sendDescriptors(call);
  }

  #sendDescriptors(call: LineCall): void {
    try {
      for (const each of call.descriptors ?? []) this.#descriptors?.send(each);
    } catch (error) {
      const reason = asNsmError(error);
      // On a connection that has ended the call fails by itself, or goes with the next one.
      if (reason.code !== 'UNAVAILABLE') call.end(reason);
    }
  }

  #judge(tls: OwnTls, certificate: PeerCertificate): Error | undefined {
    try {
      const verified = tls.identity.verifyPeer(presentedChain(certificate));
      this.#refusal = undefined;
      this.#meet(tls, verified);
      return undefined;
    } catch (error) {
      this.#refusal = asNsmError(error);
      return this.#refusal;
    }
  }

  #meet(tls: OwnTls, { spiffeId, leaf, notAfterMs }: VerifiedPeer): void {
    const { leaf: ownLeaf } = tls.own;
    this.#peer = Object.freeze({
      binding: 'grpc',
      spiffeId,
      leaf,
      trustedUntilMs: notAfterMs,
      ...(ownLeaf && { ownLeaf }),
    });
    this.#followEnd(tls, notAfterMs);
  }

  /** After a reconnect the earlier end still counts: streams of the connection before may go on. */
  #followEnd({ wallClock }: MutualTls, notAfterMs: number): void {
    if (this.#closed || notAfterMs >= this.#endsAtMs) return;
    this.#endsAtMs = notAfterMs;
    const { clock, url } = this.#init;
    const leftMs = notAfterMs - wallClock.epochMs();
    const retireAfterMs = Math.min(leftMs, Math.max(retireAfterMsMin, leftMs * retireAtPart));
    for (const timer of this.#timers.splice(0)) timer.cancel();
    this.#timers.push(
      clock.after(retireAfterMs, () => this.retire('one that is about to expire')),
      clock.after(leftMs, () => this.#cut(connectionReplaced(url, 'one that has expired'))),
    );
  }

  #cut(reason: NsmError): void {
    this.retire('one that has expired');
    for (const call of this.#calls) call.end(reason);
    this.close();
  }
}
