// Protects the registry path header: what Go peers send is understood, and no other text gets past the parser.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatRegistryPath,
  parseRegistryPath,
} from '../../../protocols/registry/registry-path.ts';
import { NsmError } from '../../../protocols/errors.ts';

const valid = fc.array(fc.record({ token: fc.string() }), { maxLength: 16 }).chain((segments) =>
  fc.record({
    Index: fc.nat(segments.length),
    PathSegments: fc.constant(segments),
  }),
);

describe('the registry path', () => {
  it('reads what it writes, and the null of Go', () => {
    fc.assert(
      fc.property(valid, (path) => {
        expect(parseRegistryPath(formatRegistryPath(path))).toEqual(path);
      }),
    );
    expect(parseRegistryPath('{"Index":0,"PathSegments":null}')).toEqual({
      Index: 0,
      PathSegments: [],
    });
  });

  it('refuses mutated and foreign texts with one clear error, and never anything else', () => {
    const mutated = fc
      .tuple(valid, fc.nat(), fc.string({ maxLength: 3 }), fc.nat(4))
      .map(([path, at, insert, cut]) => {
        const text = formatRegistryPath(path);
        const from = at % (text.length + 1);
        return text.slice(0, from) + insert + text.slice(from + cut);
      });
    const foreign = fc.oneof(fc.string(), fc.json(), fc.constant('null'), fc.constant('[]'));
    fc.assert(
      fc.property(fc.oneof({ weight: 3, arbitrary: mutated }, foreign), (text) => {
        try {
          const path = parseRegistryPath(text);
          expect(path.Index).toBeLessThanOrEqual(path.PathSegments.length);
          for (const { token } of path.PathSegments) expect(typeof token).toBe('string');
        } catch (error) {
          expect(error).toBeInstanceOf(NsmError);
          expect((error as NsmError).code).toBe('INVALID_ARGUMENT');
        }
      }),
      { numRuns: 10_000 },
    );
  });
});
