// The identity of this process as the Workload API pushes it: the port `Identity` over its streams.
// NSM concept: what every NSM component waits for at its start and follows while it runs.
// Invariants: a snapshot replaces the one before only when all of it is good; a broken or silent source changes
// nothing; no key or token is ever logged.

import type { NsmError } from '../../protocols/errors.ts';
import { NsmError as Failure } from '../../protocols/errors.ts';
import type { Clock, Timer, WallClock } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type {
  Identity,
  IdentitySnapshot,
  JwtSvid,
  JwtSvidRequest,
  X509Svid,
} from '../../protocols/ports/identity.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import { readHeldJwtSvids } from './held-jwt-svids.ts';
import { Latest } from './latest.ts';
import { resignPathToken, verifyPathToken } from './path-tokens.ts';
import { SignedTokens } from './signed-tokens.ts';
import type { X509State } from './read-responses.ts';
import { readJwtBundles, readX509Svids } from './read-responses.ts';
import type { JwtBundles } from './verify-jwt-svid.ts';
import { verifyJwtSvid } from './verify-jwt-svid.ts';
import { verifyX509Svid } from './verify-x509-svid.ts';
import { startWatch } from './watch.ts';
import { createWorkloadApiClient } from './workload-api-client.ts';

export interface IdentitySourceOptions {
  /** `unix:///path` or `tcp://<IP>:<port>`, as in SPIFFE_ENDPOINT_SOCKET. */
  readonly endpoint: string;
  readonly clock: Clock;
  readonly wallClock: WallClock;
  readonly random: Random;
  readonly log: Log;
  /**
   * How long the Workload API may answer PERMISSION_DENIED before the identity counts as withdrawn, 10 s by default.
   * A restarted SPIRE agent answers so until it knows its entries.
   */
  readonly withdrawAfterMs?: number;
  /** Follow the JWT bundles from the start instead of from the first validation on. */
  readonly jwtBundles?: boolean;
}

const withdrawAfterMsDefault = 10_000;

/** Starts at once. Errors: INVALID_ARGUMENT (the endpoint). */
export function createIdentitySource(options: IdentitySourceOptions): Identity {
  return new IdentitySource(options);
}

class IdentitySource implements Identity {
  readonly #options: IdentitySourceOptions;
  readonly #client;
  readonly #x509: Latest<IdentitySnapshot>;
  readonly #jwt: Latest<JwtBundles>;
  readonly #x509Watch: { stop(): void };
  #jwtWatch: { stop(): void } | undefined;
  /** As long as somebody is known to know this process by it. */
  readonly #byLeaf = new WeakMap<Uint8Array, X509Svid>();
  readonly #signed = new SignedTokens();
  #generation = 0;
  #withdrawal: Timer | undefined;
  #expiry: Timer | undefined;

  constructor(options: IdentitySourceOptions) {
    this.#options = options;
    const { clock, random, log } = options;
    this.#client = createWorkloadApiClient(options.endpoint);
    this.#x509 = new Latest('an identity', clock);
    this.#jwt = new Latest('JWT bundles', clock);
    this.#x509Watch = startWatch({
      what: 'X.509-SVIDs',
      open: this.#client.openX509Svids,
      accept: (response) => this.#replace(readX509Svids(response, options.wallClock.epochMs())),
      onTrouble: (error, isFinal) => this.#troubled(error, isFinal),
      clock,
      random,
      log,
    });
    if (options.jwtBundles === true) this.#watchJwt();
  }

  current(): IdentitySnapshot | undefined {
    return this.#x509.value;
  }

  ready(budget: Budget): Promise<IdentitySnapshot> {
    return this.#x509.first(budget);
  }

  watch(listener: (snapshot: IdentitySnapshot | undefined) => void): () => void {
    return this.#x509.watch(listener);
  }

  updates(signal?: AbortSignal): AsyncIterable<IdentitySnapshot> {
    return this.#x509.updates(signal);
  }

  verifyPeer(chain: readonly Uint8Array[]) {
    const bundles = this.current()?.bundles ?? new Map<string, readonly Uint8Array[]>();
    return verifyX509Svid(chain, bundles, this.#options.wallClock.epochMs());
  }

  async fetchJwtSvid(request: JwtSvidRequest, budget: Budget): Promise<JwtSvid> {
    if (request.audience.length === 0 || request.audience.some((entry) => entry === '')) {
      throw new Failure('INVALID_ARGUMENT', 'a JWT-SVID is for somebody', {
        rule: 'jwt-aud',
        expected: 'one or more audiences',
        found: 'none, or an empty one',
      });
    }
    const response = await this.#client.fetchJwtSvids(request, budget);
    return readHeldJwtSvids(response, request, this.#options.wallClock.epochMs());
  }

  async validateJwtSvid(token: string, audience: string, budget: Budget) {
    this.#watchJwt();
    const bundles = await this.#jwt.first(budget);
    return verifyJwtSvid(token, audience, bundles, this.#options.wallClock.epochMs());
  }

  signPathToken(audience: string | undefined, lifetimeMs: number, ownLeaf?: Uint8Array) {
    const snapshot = this.current();
    if (snapshot === undefined) {
      throw new Failure('UNAUTHENTICATED', 'this process has no identity', {
        rule: 'token-key',
        expected: `an X.509-SVID from ${this.#options.endpoint}`,
        found: 'none so far, or it was withdrawn',
      });
    }
    const expiresAtMs = this.#options.wallClock.epochMs() + lifetimeMs;
    const known = ownLeaf && this.#byLeaf.get(ownLeaf);
    return this.#signed.token(known ?? snapshot.svid, { audience, expiresAtMs });
  }

  resignPathToken(token: string, ownLeaf: Uint8Array) {
    const { svid } = this.current() ?? {};
    const known = this.#byLeaf.get(ownLeaf);
    // Whoever knows the newest certificate came after it was there, and so did its call.
    if (known === undefined || svid === undefined || svid.chain[0] === ownLeaf) return undefined;
    return resignPathToken(token, known);
  }

  verifyPathToken(token: string, leaf: Uint8Array) {
    return verifyPathToken(token, leaf);
  }

  close(): Promise<void> {
    this.#x509Watch.stop();
    this.#jwtWatch?.stop();
    this.#withdrawal?.cancel();
    this.#expiry?.cancel();
    this.#client.close();
    this.#x509.close();
    this.#jwt.close();
    return Promise.resolve();
  }

  #replace(state: X509State): void {
    const { log } = this.#options;
    this.#withdrawal?.cancel();
    this.#withdrawal = undefined;
    this.#generation += 1;
    this.#warnAtExpiry(state);
    for (const svid of state.svids) if (svid.chain[0]) this.#byLeaf.set(svid.chain[0], svid);
    log.info('received an identity', {
      spiffeId: state.svid.spiffeId,
      expiresAtMs: state.svid.notAfterMs,
      trustDomains: [...state.bundles.keys()].slice(0, 16),
      generation: this.#generation,
    });
    this.#x509.set({ ...state, generation: this.#generation });
  }

  /** The last good identity stays when nothing better comes, but its end must not pass in silence. */
  #warnAtExpiry({ svid }: X509State): void {
    const { clock, wallClock, log } = this.#options;
    this.#expiry?.cancel();
    this.#expiry = clock.after(svid.notAfterMs - wallClock.epochMs(), () => {
      log.error('the SVID expired and no newer one came', { spiffeId: svid.spiffeId });
    });
  }

  #troubled(error: NsmError, isFinal: boolean): void {
    this.#x509.failed(error, isFinal);
    if (error.code !== 'PERMISSION_DENIED' || this.#withdrawal !== undefined) return;
    if (this.#x509.value === undefined) return;
    const { clock, log, withdrawAfterMs = withdrawAfterMsDefault } = this.#options;
    this.#withdrawal = clock.after(withdrawAfterMs, () => {
      this.#withdrawal = undefined;
      this.#expiry?.cancel();
      log.error('the identity was withdrawn', { afterMs: withdrawAfterMs });
      this.#x509.set(undefined);
    });
  }

  #watchJwt(): void {
    if (this.#jwtWatch !== undefined || this.#jwt.isClosed) return;
    const { clock, random, log } = this.#options;
    this.#jwtWatch = startWatch({
      what: 'JWT bundles',
      open: this.#client.openJwtBundles,
      accept: (response) => this.#jwt.set(readJwtBundles(response)),
      onTrouble: (error, isFinal) => this.#jwt.failed(error, isFinal),
      clock,
      random,
      log,
    });
  }
}
