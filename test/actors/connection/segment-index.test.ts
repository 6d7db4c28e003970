// Protects the index of connections by segment id: after any changes it says what looking at all of them would say.

import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { SegmentIndex } from '../../../actors/connection/segment-index.ts';
import { type Connection, ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';

const ids = ['s-1', 's-2', 's-3'];

function connection(id: string, segments: readonly string[]): Connection {
  const pathSegments = segments.map((segment) => ({ id: segment }));
  return create(ConnectionSchema, { id, path: { pathSegments } });
}

it('the index knows the connections of each segment, after any changes', () => {
  const change = fc.record({
    id: fc.constantFrom('a', 'b', 'c'),
    segments: fc.option(fc.array(fc.constantFrom(...ids), { maxLength: 3 }), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const index = new SegmentIndex();
      const known = new Map<string, Connection>();
      for (const { id, segments } of changes) {
        const after = segments === undefined ? undefined : connection(id, segments);
        index.change(known.get(id), after);
        if (after === undefined) known.delete(id);
        else known.set(id, after);
        for (const segment of ids) {
          const expected = [...known.values()]
            .filter(({ path }) => path?.pathSegments.some((each) => each.id === segment))
            .map((each) => each.id);
          expect([...index.connectionsOf(segment)].toSorted()).toEqual(expected.toSorted());
        }
      }
    }),
  );
});
