// Where connections come in over TLS. Each peer is judged by its whole chain, against the bundle of its own trust
// domain, before any byte of HTTP/2 is read; what passes is handed to grpc-js. A connection is kept as long as its
// peer is trusted: its calls end, announced, at the end of the peer's certificates, and at once when a new bundle no
// longer covers them.
// Invariant: no call is served for a peer that is not trusted at that moment.

import type { Server } from '@grpc/grpc-js';
import type { Server as NetServer } from 'node:net';
import type { PeerCertificate, Server as TlsServer, TLSSocket } from 'node:tls';
import { createServer } from 'node:tls';
import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import { connectionReplaced } from '../../protocols/messages/replaced-connection.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { VerifiedPeer } from '../../protocols/ports/identity.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Peer } from '../../protocols/ports/rpc.ts';
import { presentedChain, tlsMaterial } from '../../protocols/spiffe/tls-material.ts';
import type { GrpcServedCall } from './grpc-served-calls.ts';
import type { MutualTls } from './mutual-tls.ts';
import { alpnProtocol, contextOptions } from './mutual-tls.ts';
import { Handshakes } from './handshakes.ts';
import type { FdPassing } from './passing-credentials.ts';
import { admitBeneath, beneath, passingServer } from './passing-server.ts';
import type { PeerBounds, PeerLoad } from './peer-load.ts';
import { PeerLoads } from './peer-load.ts';
import type { RefusalLog } from './refusal-log.ts';
import type { StreamGate } from './stream-gate.ts';
import { gatedInjector } from './stream-gate.ts';

export interface TlsDoorInit {
  readonly tls: MutualTls;
  readonly clock: Clock;
  readonly log: Log;
  readonly url: string;
  /** Serves what comes through. */
  readonly server: Server;
  readonly gateOf: (load: PeerLoad) => StreamGate;
  readonly perPeer: PeerBounds;
  /** Beyond it the oldest handshake gives way. */
  readonly handshakesMax: number;
  readonly handshakeMs: number;
  /** Of a unix socket that may carry descriptors. */
  readonly fdPassing: FdPassing | undefined;
  readonly refusals: RefusalLog;
}

const ownLeavesMax = 4;
/** How long the last words of ended calls have to leave before the connection is cut. */
const lastWordsMs = 200;

export class TlsDoor {
  /** To listen with. */
  readonly socket: NetServer;
  readonly #tlsServer: TlsServer;
  readonly #init: TlsDoorInit;
  /** By the object that grpc-js gives for the peer of a call. */
  readonly #connections = new Map<PeerCertificate, TlsConnection>();
  readonly #loads: PeerLoads;
  readonly #handshakes: Handshakes;
  /** Own certificates, the newest first: a handshake may have begun with the one before. */
  #ownLeaves: readonly Uint8Array[] = [];
  readonly #unwatch: () => void;

  constructor(init: TlsDoorInit) {
    this.#init = init;
    this.#loads = new PeerLoads(init.perPeer);
    this.#handshakes = new Handshakes(init.handshakesMax, (error) => this.#refused(error));
    const { identity } = init.tls;
    this.#tlsServer = createServer({
      ...this.#context(),
      requestCert: true,
      // Judged below, where the reason can be told.
      rejectUnauthorized: false,
      ALPNProtocols: [alpnProtocol],
      handshakeTimeout: init.handshakeMs,
      noDelay: true,
    });
    this.#tlsServer.on('connection', (socket) => this.#handshakes.begin(socket));
    this.#tlsServer.on('secureConnection', (socket) => {
      this.#handshakes.end(beneath(socket));
      this.#welcome(socket);
    });
    this.#tlsServer.on('tlsClientError', (error, socket) => {
      if (!this.#handshakes.isGivenUp(beneath(socket))) this.#refused(this.#inTime(error));
      socket.destroy();
    });
    const { fdPassing } = init;
    this.socket =
      fdPassing === undefined ? this.#tlsServer : passingServer(fdPassing, this.#tlsServer);
    this.#unwatch = identity.watch(() => this.#renew());
  }

  /** Whose call it is, by the certificate that grpc-js shows; undefined when the connection has just ended. */
  connectionOf(certificate: PeerCertificate | undefined): TlsConnection | undefined {
    return certificate && this.#connections.get(certificate);
  }

  close(): void {
    this.#unwatch();
    this.socket.close();
  }

  #context() {
    const snapshot = this.#init.tls.identity.current();
    const leaf = snapshot?.svid.chain[0];
    if (leaf !== undefined) this.#ownLeaves = [leaf, ...this.#ownLeaves].slice(0, ownLeavesMax);
    return contextOptions(snapshot && tlsMaterial(snapshot));
  }

  #welcome(socket: TLSSocket): void {
    // grpc-js hears of it as the end of the session.
    socket.on('error', () => {});
    const presented = socket.getPeerCertificate(true);
    const chain = presentedChain(presented);
    let proven: string | undefined;
    try {
      const verified = this.#judge(socket, chain);
      proven = verified.spiffeId;
      requireHttp2(socket);
      this.#admit(socket, { presented, chain, verified });
    } catch (error) {
      this.#refused(error, proven);
      socket.destroy();
    }
  }

  #judge(socket: TLSSocket, chain: readonly Uint8Array[]): VerifiedPeer {
    const verified = this.#init.tls.identity.verifyPeer(chain);
    if (!socket.authorized) {
      throw new NsmError('UNAUTHENTICATED', 'TLS does not accept the chain', {
        rule: 'tls-chain',
        expected: `a chain to a CA of ${verified.trustDomain}`,
        found: String(socket.authorizationError),
      });
    }
    return verified;
  }

  #admit(
    socket: TLSSocket,
    { presented, chain, verified }: Omit<TlsConnectionInit, 'socket' | 'ownLeaf'>,
  ): void {
    const { clock, server, tls, url, gateOf } = this.#init;
    const { spiffeId } = verified;
    const load = this.#loads.enter(spiffeId);
    const own = socket.getX509Certificate()?.raw;
    const ownLeaf = own && this.#ownLeaves.find((leaf) => own.equals(leaf));
    const connection = new TlsConnection({ socket, presented, chain, verified, ownLeaf });
    // One object for all calls, instead of a certificate that is read anew for each.
    socket.getPeerCertificate = (() => presented) as TLSSocket['getPeerCertificate'];
    this.#connections.set(presented, connection);
    // An injector of its own lets grpc-js say goodbye to this connection alone.
    const injector = gatedInjector(server, gateOf(load));
    const expiry = clock.after(verified.notAfterMs - tls.wallClock.epochMs(), () =>
      connection.end(connectionReplaced(url, 'a client certificate that has expired'), clock),
    );
    connection.onEnd = () => injector.destroy();
    socket.once('close', () => {
      this.#connections.delete(presented);
      this.#loads.leave(spiffeId, load);
      expiry.cancel();
      connection.closed();
      injector.destroy();
    });
    injector.injectConnection(socket);
  }

  /** New handshakes take the new SVID and bundles; peers that these no longer cover are shown out. */
  #renew(): void {
    const { tls, clock, log, url } = this.#init;
    this.#tlsServer.setSecureContext(this.#context());
    for (const connection of this.#connections.values()) {
      try {
        tls.identity.verifyPeer(connection.chain);
      } catch (error) {
        const { spiffeId } = connection.peer;
        log.warn('ended a connection', { url, spiffeId, error: describeError(asNsmError(error)) });
        connection.end(connectionReplaced(url, 'a client that is no longer trusted'), clock);
      }
    }
  }

  #inTime(error: Error): Error {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_TLS_HANDSHAKE_TIMEOUT') return error;
    return new NsmError('DEADLINE_EXCEEDED', 'the handshake never ended', {
      rule: 'handshake-time',
      expected: `a handshake within ${this.#init.handshakeMs} ms`,
    });
  }

  #refused(thrown: unknown, peer?: string): void {
    this.#init.refusals.write({ error: asNsmError(thrown), ...(peer !== undefined && { peer }) });
  }
}

function requireHttp2({ alpnProtocol: found }: TLSSocket): void {
  if (found === alpnProtocol) return;
  throw new NsmError('UNAUTHENTICATED', 'not a connection of HTTP/2', {
    rule: 'tls-alpn',
    expected: alpnProtocol,
    found: String(found || 'no protocol'),
  });
}

interface TlsConnectionInit {
  readonly socket: TLSSocket;
  readonly presented: PeerCertificate;
  readonly chain: readonly Uint8Array[];
  readonly verified: VerifiedPeer;
  /** With which this process has proven itself. */
  readonly ownLeaf: Uint8Array | undefined;
}

export class TlsConnection {
  readonly peer: Peer;
  readonly chain: readonly Uint8Array[];
  readonly calls = new Set<GrpcServedCall>();
  onEnd = (): void => {};
  readonly #socket: TLSSocket;
  #ended: NsmError | undefined;
  #cut: Timer | undefined;

  constructor({ socket, chain, verified, ownLeaf }: TlsConnectionInit) {
    const { spiffeId, leaf, notAfterMs } = verified;
    this.#socket = socket;
    this.chain = chain;
    const descriptors = admitBeneath(socket);
    this.peer = Object.freeze({
      binding: 'grpc',
      spiffeId,
      leaf,
      trustedUntilMs: notAfterMs,
      ...(ownLeaf && { ownLeaf }),
      ...(descriptors === undefined ? {} : { descriptors }),
    });
  }

  /** Why it takes no more calls. */
  get refusal(): NsmError | undefined {
    return this.#ended;
  }

  end(reason: NsmError, clock: Clock): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    for (const call of this.calls) call.abort(reason);
    this.onEnd();
    this.#cut = clock.after(lastWordsMs, () => this.#socket.destroy());
  }

  closed(): void {
    this.#cut?.cancel();
  }
}
