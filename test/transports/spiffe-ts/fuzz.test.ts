// Protects against hostile bytes: certificates, tokens, bundle documents and Workload API answers that are a few edits
// away from good ones, or no such thing at all. Each is accepted or refused with an NsmError, never anything else, and
// nothing that was edited is taken for somebody whom it does not name.

import { createPublicKey, sign } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { asNsmError, NsmError } from '../../../protocols/errors.ts';
import { X509SVIDResponseSchema } from '../../../protocols/nsm/gen/workload_pb.ts';
import {
  encodeBundleDocument,
  parseBundleDocument,
} from '../../../protocols/spiffe/bundle-document.ts';
import type { PublicJwk } from '../../../protocols/spiffe/bundle-document.ts';
import { readCertificate } from '../../../protocols/spiffe/certificate.ts';
import { parsePathToken } from '../../../protocols/spiffe/path-token.ts';
import { parseSpiffeId } from '../../../protocols/spiffe/spiffe-id.ts';
import { readX509Svids } from '../../../transports/spiffe-ts/read-responses.ts';
import { readJwtKeys, verifyJwtSvid } from '../../../transports/spiffe-ts/verify-jwt-svid.ts';
import { verifyX509Svid } from '../../../transports/spiffe-ts/verify-x509-svid.ts';
import {
  mutateText,
  mutateValue,
  mutations,
  randomBytes,
  randomText,
  seeded,
} from '../../fuzz/mutate.ts';
import { leafId, makeCa, makeKey, makeLeaf, nowMs } from './pki.ts';
import { away, entryOf, home, responseOf } from './x509-response.ts';

const seed = 20_261_120;
const random = seeded(seed);

/** How many of the inputs were accepted; anything thrown but an NsmError that is no INTERNAL fails. */
function survives<Input>(
  inputs: Iterable<Input>,
  count: number,
  take: (input: Input) => void,
): number {
  let accepted = 0;
  let left = count;
  for (const input of inputs) {
    if (left === 0) break;
    left -= 1;
    try {
      take(input);
      accepted += 1;
    } catch (error) {
      if (error instanceof NsmError && asNsmError(error).code !== 'INTERNAL') continue;
      throw new Error(`input ${count - left} of seed ${seed}`, { cause: error });
    }
  }
  return accepted;
}

function* repeated<Input>(make: () => Input): Generator<Input, never> {
  for (;;) yield make();
}

const bundles = new Map([
  ['home.test', [home.der]],
  ['away.test', [away.der]],
]);

it('survives certificates', () => {
  const middle = makeCa({ issuer: home });
  const leaf = makeLeaf(middle, { dnsNames: ['a.test'] });
  const others = [leaf, middle.der, makeLeaf(away), makeLeaf(home, { key: makeKey('RSA') })];
  survives(mutations(random, leaf, others), 4_000, (der) => void readCertificate(der));
  survives(mutations(random, leaf, others), 2_500, (der) => {
    // The signature covers everything: an accepted leaf still is the one that was signed.
    const peer = verifyX509Svid([der, middle.der], bundles, nowMs);
    expect(peer.spiffeId).toBe(leafId);
  });
  survives(mutations(random, middle.der, others), 1_500, (der) => {
    expect(verifyX509Svid([leaf, der], bundles, nowMs).spiffeId).toBe(leafId);
  });
  survives(
    repeated(() => randomBytes(random, 300)),
    2_000,
    (der) => void readCertificate(der),
  );
});

const key = makeKey();
const jwk = createPublicKey(key).export({ format: 'jwk' }) as PublicJwk;
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const header = { alg: 'ES256', kid: 'k', typ: 'JWT' };
const claims = {
  sub: leafId,
  aud: ['server', 'x'],
  exp: nowMs / 1000 + 60,
  nested: { a: [1, null] },
};
function tokenOf(head: unknown, body: unknown): string {
  const input = `${part(head)}.${part(body)}`;
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

it('survives tokens', () => {
  const good = tokenOf(header, claims);
  const keys = new Map([['home.test', readJwtKeys(new Map([['k', jwk]]))]]);
  const verify = (token: string): void => {
    parsePathTokenOrNothing(token);
    const { spiffeId, audience } = verifyJwtSvid(token, 'server', keys, nowMs);
    expect(spiffeId.trustDomain).toBe('home.test');
    expect(audience).toContain('server');
  };
  const texts = repeated(() => mutateText(random, good, [good, '..', part({ alg: 'none' })]));
  expect(survives(texts, 2_500, verify)).toBeLessThan(50);
  // Well signed, but odd within.
  survives(
    repeated(() => tokenOf(header, mutateValue(random, claims))),
    1_500,
    verify,
  );
  survives(
    repeated(() => tokenOf(mutateValue(random, header), claims)),
    1_000,
    verify,
  );
  survives(
    repeated(() => randomText(random, 40)),
    1_500,
    verify,
  );
  survives(
    repeated(() => mutateText(random, leafId)),
    1_500,
    (text) => {
      expect(parseSpiffeId(text).text).toBe(text);
    },
  );
});

function parsePathTokenOrNothing(token: string): void {
  try {
    parsePathToken(token);
  } catch (error) {
    expect(error).toBeInstanceOf(NsmError);
  }
}

it('survives bundle documents', () => {
  const document = encodeBundleDocument({
    x509Authorities: [{ certificate: home.der, jwk }],
    jwtAuthorities: new Map([['k', jwk]]),
    sequence: 7n,
    refreshHintSeconds: 60,
  });
  const value: unknown = JSON.parse(Buffer.from(document).toString());
  const parse = (bytes: Uint8Array): void => {
    for (const form of ['bundle', 'keys'] as const) {
      readJwtKeys(parseBundleDocument(bytes, form).jwtAuthorities);
    }
  };
  survives(mutations(random, document), 1_500, parse);
  const edited = repeated(() => Buffer.from(JSON.stringify(mutateValue(random, value))));
  survives(edited, 1_500, parse);
  survives(
    repeated(() => Buffer.from(randomText(random, 60))),
    1_000,
    parse,
  );
});

it('survives answers of the Workload API', () => {
  const good = responseOf([
    entryOf(),
    { ...entryOf({ uris: ['spiffe://home.test/b'] }), hint: 'b' },
  ]);
  const message = fromBinary(X509SVIDResponseSchema, good);
  const decode = (bytes: Uint8Array) => {
    try {
      return fromBinary(X509SVIDResponseSchema, bytes);
    } catch {
      // grpc-js ends the stream with INTERNAL there, and the watch opens another.
      throw new NsmError('INVALID_ARGUMENT', 'no message');
    }
  };
  const read = (answer: typeof message): void => {
    const state = readX509Svids(answer, nowMs);
    for (const svid of state.svids) {
      expect(verifyX509Svid(svid.chain, state.bundles, nowMs).spiffeId).toBe(svid.spiffeId);
    }
  };
  read(message);
  survives(mutations(random, good), 2_000, (bytes) => read(decode(bytes)));
  survives(
    repeated(() => mutateValue(random, message)),
    1_000,
    read,
  );
  survives(
    repeated(() => randomBytes(random, 200)),
    1_000,
    (bytes) => read(decode(bytes)),
  );
});
