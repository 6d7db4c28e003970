// What one workload is answered: its SVIDs, freshly issued, and the bundles of its own and of federated trust domains.

import type { MessageInitShape } from '@bufbuild/protobuf';
import { NsmError } from '../../../protocols/errors.ts';
import type {
  JWTBundlesResponseSchema,
  JWTSVIDResponseSchema,
  X509BundlesResponseSchema,
  X509SVIDResponseSchema,
} from '../../../protocols/nsm/gen/workload_pb.ts';
import type { Clock, WallClock } from '../../../protocols/ports/clock.ts';
import type { PublicJwk } from '../../../protocols/spiffe/bundle-document.ts';
import { encodeBundleDocument } from '../../../protocols/spiffe/bundle-document.ts';
import { concatBytes } from '../../../protocols/spiffe/der-writer.ts';
import type { JsonObject } from '../../../protocols/spiffe/jwt.ts';
import { trustDomainId } from '../../../protocols/spiffe/spiffe-id.ts';
import type { BundleStore } from '../bundle-store.ts';
import { readJwtKeys, verifyJwtSvid } from '../verify-jwt-svid.ts';
import type { Authority } from './authority.ts';

export interface WorkloadAnswersOptions {
  readonly authority: Authority;
  readonly federated: BundleStore;
  /** Identities of the workload, the default one first; empty: it has none. */
  readonly spiffeIds: readonly string[];
  readonly svidLifetimeMs: number;
  readonly jwtLifetimeMs: number;
  readonly clock: Clock;
  readonly wallClock: WallClock;
}

export class WorkloadAnswers {
  readonly #options: WorkloadAnswersOptions;

  constructor(options: WorkloadAnswersOptions) {
    this.#options = options;
  }

  x509Svids(): MessageInitShape<typeof X509SVIDResponseSchema> {
    const { authority, federated, svidLifetimeMs } = this.#options;
    const nowMs = this.#options.wallClock.epochMs();
    const bundle = this.#ownAuthorities();
    const svids = this.#identities().map((spiffeId) => {
      const svid = authority.issueX509(spiffeId, svidLifetimeMs, nowMs);
      return {
        spiffeId,
        x509Svid: concatBytes(svid.chain),
        x509SvidKey: svid.privateKey,
        bundle,
      };
    });
    return { svids, federatedBundles: federatedAuthorities(federated) };
  }

  x509Bundles(): MessageInitShape<typeof X509BundlesResponseSchema> {
    this.#identities();
    const { authority, federated } = this.#options;
    return {
      bundles: {
        ...federatedAuthorities(federated),
        [trustDomainId(authority.trustDomain)]: this.#ownAuthorities(),
      },
    };
  }

  jwtBundles(): MessageInitShape<typeof JWTBundlesResponseSchema> {
    this.#identities();
    const { authority, federated } = this.#options;
    const bundles: Record<string, Uint8Array> = {};
    for (const { trustDomain, jwtKeys } of allBundles(federated)) {
      bundles[trustDomainId(trustDomain)] = keySet(
        new Map([...jwtKeys].map(([id, key]) => [id, key.export({ format: 'jwk' }) as PublicJwk])),
      );
    }
    bundles[trustDomainId(authority.trustDomain)] = keySet(authority.bundle().jwtAuthorities);
    return { bundles };
  }

  jwtSvids(
    audience: readonly string[],
    spiffeId: string,
  ): MessageInitShape<typeof JWTSVIDResponseSchema> {
    if (audience.length === 0 || audience.includes('')) {
      throw new NsmError('INVALID_ARGUMENT', 'a JWT-SVID is for somebody', {
        rule: 'audience',
        expected: 'one or more audiences',
        found: 'none, or an empty one',
      });
    }
    const { authority, jwtLifetimeMs, wallClock } = this.#options;
    const own = this.#identities();
    const wanted = spiffeId === '' ? own : own.filter((id) => id === spiffeId);
    if (wanted.length === 0) throw this.#denied(spiffeId);
    const nowMs = wallClock.epochMs();
    return {
      svids: wanted.map((id) => ({
        spiffeId: id,
        svid: authority.issueJwt(id, audience, jwtLifetimeMs, nowMs).token,
      })),
    };
  }

  /** Errors: INVALID_ARGUMENT, as the API has it for a token that is not valid. */
  validateJwtSvid(audience: string, token: string): { spiffeId: string; claims: JsonObject } {
    const { authority, federated, wallClock } = this.#options;
    const bundles = new Map(federated.jwt());
    bundles.set(authority.trustDomain, readJwtKeys(authority.bundle().jwtAuthorities));
    try {
      const { spiffeId, claims } = verifyJwtSvid(token, audience, bundles, wallClock.epochMs());
      return { spiffeId: spiffeId.text, claims };
    } catch (thrown) {
      const details = thrown instanceof NsmError ? thrown.details : {};
      throw new NsmError('INVALID_ARGUMENT', 'the JWT-SVID is not valid', {
        ...details,
        cause: thrown,
      });
    }
  }

  /** Calls `again` when half of the life of SVIDs issued now is over. */
  armRotation(again: () => void): () => void {
    const timer = this.#options.clock.after(this.#options.svidLifetimeMs / 2, again);
    return () => timer.cancel();
  }

  #ownAuthorities(): Uint8Array {
    const { x509Authorities } = this.#options.authority.bundle();
    return concatBytes(x509Authorities.map(({ certificate }) => certificate));
  }

  #identities(): readonly string[] {
    if (this.#options.spiffeIds.length === 0) throw this.#denied('');
    return this.#options.spiffeIds;
  }

  #denied(spiffeId: string): NsmError {
    const own = this.#options.spiffeIds;
    return new NsmError('PERMISSION_DENIED', 'no identity issued', {
      rule: 'workload',
      expected: own.length === 0 ? 'a workload that the server knows' : own.join(', '),
      found: spiffeId === '' ? 'another one' : spiffeId.slice(0, 200),
    });
  }
}

function allBundles(federated: BundleStore) {
  return federated.trustDomains.flatMap((name) => {
    const bundle = federated.get(name);
    return bundle === undefined ? [] : [bundle];
  });
}

function federatedAuthorities(federated: BundleStore): Record<string, Uint8Array> {
  return Object.fromEntries(
    allBundles(federated).map(({ trustDomain, x509Authorities }) => [
      trustDomainId(trustDomain),
      concatBytes(x509Authorities),
    ]),
  );
}

const keySet = (jwtAuthorities: ReadonlyMap<string, PublicJwk>): Uint8Array =>
  encodeBundleDocument({ x509Authorities: [], jwtAuthorities });
