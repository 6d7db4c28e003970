// Protects the bytes of actor messages between processes: what is encoded comes back the same, a newer peer's fields
// are skipped, and everything else is refused with one clear error.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import {
  decodeActorEnvelope,
  encodeActorEnvelope,
} from '../../../protocols/messages/actor-envelope.ts';
import type { ActorEnvelope } from '../../../protocols/ports/actor-link.ts';

const text = fc.string({ minLength: 1, maxLength: 30, unit: 'grapheme' });
const route = { to: text, from: text };
const body = fc.uint8Array({ maxLength: 40 });
const details = fc.record(
  { hop: fc.string(), rule: fc.string(), found: fc.string() },
  { requiredKeys: [] },
);
const error = fc.record({
  code: fc.constantFrom('UNAVAILABLE' as const, 'INTERNAL' as const),
  message: fc.string(),
  details,
});

const envelope: fc.Arbitrary<ActorEnvelope> = fc
  .record({ ...route, path: fc.array(text, { minLength: 1, maxLength: 5 }), incarnation: text })
  .chain(({ to, from, path, incarnation }) => {
    const target = fc.constant({ node: to, path, incarnation });
    const ends = { to: fc.constant(to), from: fc.constant(from) };
    const of = <Kind extends string>(kind: Kind) => ({ ...ends, kind: fc.constant(kind) });
    return fc.oneof(
      fc.record({ ...of('tell'), target, body }),
      fc.record({ ...of('ask'), target, id: text, timeoutMs: fc.integer({ min: 1 }), body }),
      fc.record({ ...of('reply'), id: text, body }),
      fc.record({ ...of('failure'), id: text, error }),
      fc.record({ ...of('cancel'), id: text }),
      fc.record({ ...of('watch'), target, id: text }),
      fc.record({ ...of('unwatch'), id: text }),
      fc.record({
        ...of('terminated'),
        id: text,
        reason: fc.constantFrom('stopped' as const, 'crashed' as const),
      }),
      fc.record(of('ping')),
      fc.record({ ...of('pong'), watchCount: fc.nat() }),
    );
  });

it('comes back as it was encoded, also with fields that are not known yet', () => {
  fc.assert(
    fc.property(envelope, (made) => {
      const bytes = encodeActorEnvelope(made);
      expect(decodeActorEnvelope(bytes)).toEqual(made);
      // Field 100, a varint.
      const newer = Uint8Array.from([0xa0, 0x06, 0x01, ...bytes]);
      expect(decodeActorEnvelope(newer)).toEqual(made);
    }),
    { numRuns: 1_000 },
  );
});

it('decodes or refuses whatever comes, with one kind of error', () => {
  const mutated = fc
    .tuple(
      envelope,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
      fc.nat(),
      fc.boolean(),
    )
    .map(([made, changes, cut, isCut]) => {
      const bytes = Uint8Array.from(encodeActorEnvelope(made));
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      return isCut ? bytes.slice(0, cut % bytes.length) : bytes;
    });
  const hostile = fc.oneof({ weight: 3, arbitrary: mutated }, fc.uint8Array({ maxLength: 80 }));
  fc.assert(
    fc.property(hostile, (bytes) => {
      try {
        decodeActorEnvelope(bytes);
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(NsmError);
        const { code, details: found } = thrown as NsmError;
        expect(code).toBe('INVALID_ARGUMENT');
        expect(found.rule).toMatch(/^actor-envelope\./);
        expect(found.expected).toBeTruthy();
        expect(found.found).toBeTruthy();
      }
    }),
    { numRuns: 10_000 },
  );
});

it('names what is wrong', () => {
  const made = encodeActorEnvelope({ to: 'a/b', from: 'c/d', kind: 'cancel', id: 'x' });
  const future = Uint8Array.from(made);
  future[1] = 9;
  expect(() => decodeActorEnvelope(future)).toThrow(
    expect.objectContaining({
      details: { rule: 'actor-envelope.version', expected: '1 to 1', found: '9' },
    }),
  );
});
