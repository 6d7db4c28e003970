// A good X.509-SVID response, and what of it a test wants otherwise.

import type { MessageInitShape } from '@bufbuild/protobuf';
import { create, toBinary } from '@bufbuild/protobuf';
import type { KeyObject } from 'node:crypto';
import { X509SVIDResponseSchema } from '../../../protocols/nsm/gen/workload_pb.ts';
import { concatBytes } from '../../../protocols/spiffe/der-writer.ts';
import type { LeafOptions, TestCa } from './pki.ts';
import { leafId, makeCa, makeKey, makeLeaf } from './pki.ts';

export const home = makeCa();
export const away = makeCa();

export type Entry = NonNullable<MessageInitShape<typeof X509SVIDResponseSchema>['svids']>[number];

export const pkcs8 = (key: KeyObject): Uint8Array => key.export({ type: 'pkcs8', format: 'der' });

export function entryOf(options: LeafOptions & { ca?: TestCa; others?: Uint8Array[] } = {}) {
  const { ca = home, key = makeKey(), others = [], ...leaf } = options;
  return {
    spiffeId: options.uris?.[0] ?? leafId,
    x509Svid: concatBytes([makeLeaf(ca, { ...leaf, key }), ...others]),
    x509SvidKey: pkcs8(key),
    bundle: home.der,
    hint: '',
  };
}

export function responseOf(
  svids: readonly Entry[],
  federatedBundles: Record<string, Uint8Array> = { 'spiffe://away.test': away.der },
): Uint8Array {
  const message = create(X509SVIDResponseSchema, { svids: [...svids], federatedBundles });
  return toBinary(X509SVIDResponseSchema, message);
}
