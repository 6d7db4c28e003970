// Protects the names of actors on their way into nact's tree: any name goes in, no two become one.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { decodeName, encodeName } from '../../../actors/runtime/name-codec.ts';

/** What nact 7.6.2 accepts as a name. */
const nactName = /^[a-z0-9-$_.+!*'(),]+$/i;
const oneUnit = fc.constantFrom('a', '$', '0', '4', '!', '/', '@', ':', '.', '\uD800', 'é');
const anyName = fc.oneof(
  fc.string({ minLength: 1, maxLength: 60, unit: 'binary' }),
  fc.string({ minLength: 1, maxLength: 60, unit: oneUnit }),
);

it('gives nact a name that it accepts, and back again the same', () => {
  fc.assert(
    fc.property(anyName, (name) => {
      const encoded = encodeName(name);
      expect(encoded).toMatch(nactName);
      expect(encoded).not.toContain('!');
      expect(decodeName(encoded)).toBe(name);
    }),
    { numRuns: 2_000 },
  );
});

it('refuses what no actor can be called', () => {
  expect(() => encodeName('')).toThrow(/cannot have this name/);
  expect(() => encodeName('x'.repeat(1_025))).toThrow(/cannot have this name/);
});
