// A Workload API server for machines without SPIRE: its own CA in memory, identities by socket or by the unix peer's
// process, user and group, federation by bundle documents. FOR DEVELOPMENT ONLY: whoever can connect to a socket is
// whoever the socket stands for, and the CA's key lies in this process.
// Invariants: the authority of another trust domain is never served as the own one; rotation leaves no gap.

import { asNsmError, describeError, NsmError } from '../../../protocols/errors.ts';
import type { Clock, Timer, WallClock } from '../../../protocols/ports/clock.ts';
import type { Log } from '../../../protocols/ports/log.ts';
import { encodeBundleDocument } from '../../../protocols/spiffe/bundle-document.ts';
import { parseTrustDomain, parseWorkloadId } from '../../../protocols/spiffe/spiffe-id.ts';
import { BundleStore } from '../bundle-store.ts';
import type { CaKey, SavedAuthority } from './authority.ts';
import { Authority } from './authority.ts';
import type { PeerCredentials } from './peer-credentials.ts';
import { peerCredentialsOf } from './peer-credentials.ts';
import type { SocketListener } from './socket-listener.ts';
import { listenOn } from './socket-listener.ts';
import { WorkloadAnswers } from './workload-answers.ts';
import type { WorkloadService } from './workload-service.ts';
import { createWorkloadService } from './workload-service.ts';

export interface IdentityServerOptions {
  readonly trustDomain: string;
  readonly clock: Clock;
  readonly wallClock: WallClock;
  readonly log: Log;
  /** 1 h by default, at least 2 s. SVIDs are renewed at half of it. */
  readonly svidLifetimeMs?: number;
  /** 5 min by default. */
  readonly jwtLifetimeMs?: number;
  /** 24 h by default, and at least four lifetimes of an SVID. */
  readonly caLifetimeMs?: number;
  readonly caKey?: CaKey;
  /** What `save` returned in an earlier process: the CA survives a restart. */
  readonly saved?: SavedAuthority;
}

export interface IdentityServer {
  readonly trustDomain: string;
  /** Everybody who can connect to the socket has these identities. `mode`: 0o600 by default. */
  serve(url: string, spiffeIds: readonly string[], mode?: number): Promise<SocketListener>;
  /**
   * `identify` gives the identities of the process at the other end; none: it gets PERMISSION_DENIED. Unix sockets
   * only. `mode`: 0o666 by default.
   */
  servePeers(
    url: string,
    identify: (peer: PeerCredentials) => readonly string[],
    mode?: number,
  ): Promise<SocketListener>;
  /** The bundle document that another trust domain federates with. */
  bundle(): Uint8Array;
  /** Called with the bundle document whenever it changed. Returns how to stop. */
  watchBundle(listener: (document: Uint8Array) => void): () => void;
  /** Trusts another trust domain by its bundle document, or by none of it any more. True where something changed. */
  federate(trustDomain: string, document: Uint8Array | undefined): boolean;
  /** Publishes a new CA, which signs from a quarter of an SVID's life on. */
  rotateAuthority(): void;
  /** Issues all SVIDs anew. */
  rotateSvids(): void;
  /** Holds the CA's key. */
  save(): SavedAuthority;
  close(): Promise<void>;
}

/** Shorter ones are over before both sides have used them: validity counts in whole seconds. */
const svidLifetimeMsMin = 2_000;
/** Peers by process with a service of their own. */
const peersMax = 1024;

/** Errors: INVALID_ARGUMENT. */
export function createIdentityServer(options: IdentityServerOptions): IdentityServer {
  return new DevelopmentServer(options);
}

class DevelopmentServer implements IdentityServer {
  readonly #options: IdentityServerOptions;
  readonly #authority: Authority;
  readonly #federated = new BundleStore();
  readonly #svidLifetimeMs: number;
  /** By the identities, joined. */
  readonly #services = new Map<string, WorkloadService>();
  readonly #listeners = new Set<SocketListener>();
  readonly #bundleListeners = new Set<(document: Uint8Array) => void>();
  #renewal: Timer | undefined;

  constructor(options: IdentityServerOptions) {
    this.#options = options;
    this.#svidLifetimeMs = options.svidLifetimeMs ?? 3_600_000;
    const caLifetimeMs = options.caLifetimeMs ?? Math.max(24 * 3_600_000, this.#svidLifetimeMs * 4);
    checkLifetimes(this.#svidLifetimeMs, caLifetimeMs);
    this.#authority = new Authority(
      {
        trustDomain: options.trustDomain,
        caKey: options.caKey ?? 'ec-p256',
        caLifetimeMs,
        activationMs: this.#svidLifetimeMs / 4,
        saved: options.saved,
      },
      options.wallClock.epochMs(),
    );
    this.#armRenewal();
    options.log.warn(
      'DEVELOPMENT ONLY: this identity server proves nothing about who is who. Use SPIRE in production',
      { trustDomain: this.trustDomain },
    );
  }

  get trustDomain(): string {
    return this.#authority.trustDomain;
  }

  serve(url: string, spiffeIds: readonly string[], mode = 0o600): Promise<SocketListener> {
    this.#check(spiffeIds);
    const service = this.#serviceFor(spiffeIds);
    return this.#listen(url, mode, (socket) => service.accept(socket));
  }

  servePeers(
    url: string,
    identify: (peer: PeerCredentials) => readonly string[],
    mode = 0o666,
  ): Promise<SocketListener> {
    if (!url.startsWith('unix:')) {
      throw new NsmError('INVALID_ARGUMENT', 'only unix sockets tell who connects', {
        rule: 'peer-credentials',
        expected: 'a unix URL',
        found: url.slice(0, 200),
      });
    }
    return this.#listen(url, mode, (socket) => {
      try {
        const spiffeIds = identify(peerCredentialsOf(socket));
        this.#check(spiffeIds);
        this.#serviceFor(spiffeIds).accept(socket);
      } catch (error) {
        this.#options.log.warn('refused a connection', { error: describeError(asNsmError(error)) });
        socket.destroy();
      }
    });
  }

  bundle(): Uint8Array {
    return encodeBundleDocument(this.#authority.bundle());
  }

  watchBundle(listener: (document: Uint8Array) => void): () => void {
    const own = (document: Uint8Array): void => listener(document);
    this.#bundleListeners.add(own);
    return () => void this.#bundleListeners.delete(own);
  }

  federate(trustDomainText: string, document: Uint8Array | undefined): boolean {
    const trustDomain = parseTrustDomain(trustDomainText);
    if (trustDomain === this.trustDomain) {
      throw new NsmError('INVALID_ARGUMENT', 'a trust domain does not federate with itself', {
        rule: 'federation',
        expected: 'another trust domain',
        found: trustDomain,
      });
    }
    const wasKnown = this.#federated.get(trustDomain) !== undefined;
    const hasChanged =
      document === undefined ? wasKnown : this.#federated.set(trustDomain, document);
    if (document === undefined) this.#federated.delete(trustDomain);
    if (hasChanged) this.#push();
    return hasChanged;
  }

  rotateAuthority(): void {
    this.#authority.rotate(this.#options.wallClock.epochMs());
    this.#bundleChanged();
  }

  rotateSvids(): void {
    this.#push();
  }

  save(): SavedAuthority {
    return this.#authority.save();
  }

  async close(): Promise<void> {
    this.#renewal?.cancel();
    this.#bundleListeners.clear();
    await Promise.all([...this.#services.values()].map((service) => service.close()));
    this.#services.clear();
    await Promise.all([...this.#listeners].map((listener) => listener.close()));
  }

  async #listen(
    url: string,
    mode: number,
    onConnection: Parameters<typeof listenOn>[2],
  ): Promise<SocketListener> {
    const listener = await listenOn(url, mode, onConnection);
    const listed: SocketListener = {
      url: listener.url,
      close: () => {
        this.#listeners.delete(listed);
        return listener.close();
      },
    };
    this.#listeners.add(listed);
    return listed;
  }

  #check(spiffeIds: readonly string[]): void {
    for (const id of spiffeIds) {
      const { trustDomain } = parseWorkloadId(id);
      if (trustDomain === this.trustDomain) continue;
      throw new NsmError('INVALID_ARGUMENT', 'not an id of this trust domain', {
        rule: 'trust-domain',
        expected: this.trustDomain,
        found: trustDomain,
      });
    }
  }

  #serviceFor(spiffeIds: readonly string[]): WorkloadService {
    const key = spiffeIds.join(' ');
    const known = this.#services.get(key);
    if (known !== undefined) return known;
    if (this.#services.size === peersMax) {
      throw new NsmError('RESOURCE_EXHAUSTED', 'too many identities', {
        rule: 'identities',
        expected: `at most ${peersMax}`,
        found: 'one more',
      });
    }
    const { clock, wallClock, jwtLifetimeMs = 300_000 } = this.#options;
    const service = createWorkloadService(
      new WorkloadAnswers({
        authority: this.#authority,
        federated: this.#federated,
        spiffeIds,
        svidLifetimeMs: this.#svidLifetimeMs,
        jwtLifetimeMs,
        clock,
        wallClock,
      }),
    );
    this.#services.set(key, service);
    return service;
  }

  #armRenewal(): void {
    const { clock, wallClock } = this.#options;
    const inMs = Math.max(1_000, this.#authority.nextRenewalMs - wallClock.epochMs());
    this.#renewal = clock.after(inMs, () => {
      const hasChanged = this.#authority.renew(wallClock.epochMs());
      this.#armRenewal();
      if (hasChanged) this.#bundleChanged();
    });
  }

  #bundleChanged(): void {
    const document = this.bundle();
    for (const listener of this.#bundleListeners) listener(document);
    this.#push();
  }

  #push(): void {
    for (const service of this.#services.values()) service.push();
  }
}

function checkLifetimes(svidMs: number, caMs: number): void {
  if (svidMs >= svidLifetimeMsMin && caMs >= svidMs * 4) return;
  throw new NsmError('INVALID_ARGUMENT', 'these lifetimes do not work', {
    rule: 'lifetimes',
    expected: `SVIDs of at least ${svidLifetimeMsMin} ms, a CA of at least four times that`,
    found: `SVIDs of ${svidMs} ms, a CA of ${caMs} ms`,
  });
}
