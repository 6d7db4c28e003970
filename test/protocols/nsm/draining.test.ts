// Protects the label by which an Endpoint drains: it stands under every service, goes without a trace, and changes
// nothing else of the entry.

import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isDraining, withDraining } from '../../../protocols/nsm/draining.ts';
import {
  NetworkServiceEndpointSchema,
  NetworkServiceLabelsSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';

const word = fc.stringMatching(/^[a-z]{1,4}$/);
const entries = fc
  .record({
    names: fc.uniqueArray(word, { maxLength: 4 }),
    labels: fc.dictionary(word, fc.dictionary(word, word, { maxKeys: 3 }), { maxKeys: 4 }),
  })
  .map(({ names, labels }) => {
    const endpoint = create(NetworkServiceEndpointSchema, {
      name: 'e',
      networkServiceNames: names,
    });
    for (const [service, each] of Object.entries(labels)) {
      endpoint.networkServiceLabels[service] = {
        ...create(NetworkServiceLabelsSchema),
        labels: { ...each },
      };
    }
    return endpoint;
  });

it('stands under each service that the Endpoint offers or has labels for', () => {
  fc.assert(
    fc.property(entries, (endpoint) => {
      const draining = withDraining(endpoint, true);
      const services = new Set([
        ...endpoint.networkServiceNames,
        ...Object.keys(endpoint.networkServiceLabels),
      ]);
      expect(isDraining(draining)).toBe(services.size > 0);
      for (const service of services) {
        expect(draining.networkServiceLabels[service]?.labels).toEqual({
          ...endpoint.networkServiceLabels[service]?.labels,
          'vwire.io/draining': 'true',
        });
      }
      expect(withDraining(draining, true)).toEqual(draining);
    }),
  );
});

it('goes without a trace but for empty entries, and nothing else changes', () => {
  fc.assert(
    fc.property(entries, (endpoint) => {
      const back = withDraining(withDraining(endpoint, true), false);
      expect(isDraining(back)).toBe(false);
      for (const [service, { labels }] of Object.entries(back.networkServiceLabels)) {
        expect(labels).toEqual(endpoint.networkServiceLabels[service]?.labels ?? {});
      }
      const { networkServiceLabels: _, ...rest } = back;
      const { networkServiceLabels: __, ...before } = endpoint;
      expect(rest).toEqual(before);
      expect(withDraining(endpoint, false)).toBe(endpoint);
    }),
  );
});
