// Protects what travels beside a body: it round trips, it is always a legal header, and a decoder given anything
// (half of it mutations of valid lines) answers or says undefined, bounded and without throwing.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { errorCodes, NsmError, type ErrorCode } from '../../../protocols/errors.ts';
import {
  decodeCall,
  decodeError,
  decodeFrame,
  decodeOperation,
  encodeCall,
  encodeError,
  encodeFrame,
  encodeOperation,
  type CallOpening,
  type Frame,
} from '../../../protocols/messages/call-envelope.ts';
import { checkHeader, decodeText, encodeText } from '../../../protocols/messages/headers.ts';
import type { Operation } from '../../../protocols/ports/rpc.ts';

const id = fc.stringMatching(/^[\w-]{1,40}$/).filter((text) => text !== '-');
const time = fc.integer({ min: -1e12, max: 1e12 }).map((micros) => micros / 1000);
const wellFormed = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 60 })
  .filter((text) => !/\p{Cs}/u.test(text));

const call: fc.Arbitrary<CallOpening> = fc.record({
  id,
  instance: fc.option(id, { nil: undefined }),
  startBy: time,
  deadline: fc.oneof(time, fc.constant(Infinity)),
  window: fc.nat(99_999),
});
const frame: fc.Arbitrary<Frame> = fc.record({
  kind: fc.constantFrom('answer', 'refuse', 'resync', 'data', 'end', 'beat', 'credit', 'cancel'),
  count: fc.nat(1e9),
  instance: id,
  sentAt: time,
});
const operation: fc.Arbitrary<Operation> = fc.record({
  id: wellFormed,
  key: wellFormed,
  epoch: fc.maxSafeNat(),
  incarnation: fc.maxSafeNat(),
});
const error: fc.Arbitrary<NsmError> = fc
  .tuple(
    fc.constantFrom(...(Object.keys(errorCodes) as ErrorCode[])),
    fc.string({ unit: 'binary' }),
    fc.record(
      {
        hop: wellFormed,
        rule: wellFormed,
        expected: wellFormed,
        found: wellFormed,
        remedy: wellFormed,
      },
      { requiredKeys: [] },
    ),
  )
  .filter(([, message]) => !/\p{Cs}/u.test(message))
  .map(([code, message, details]) => new NsmError(code, message, details));

const runs = { numRuns: 3000 };

it('round trips the opening of a call', () => {
  fc.assert(
    fc.property(call, (value) => {
      expect(decodeCall(legal(encodeCall(value)))).toEqual(value);
    }),
    runs,
  );
});

it('round trips a frame', () => {
  fc.assert(
    fc.property(frame, (value) => {
      expect(decodeFrame(legal(encodeFrame(value)))).toEqual(value);
    }),
    runs,
  );
});

it('reads the lines of a newer version that an older one still understands', () => {
  const call = { id: 'c', instance: 'i', startBy: 1, deadline: 2, window: 3 };
  expect(decodeCall(`${encodeCall(call)} v2`)).toEqual({ ...call, version: 2 });
  const frame = { kind: 'resync', count: 0, instance: 'i', sentAt: 1.5 } as const;
  expect(decodeFrame(`${encodeFrame(frame)} v2`)).toEqual({ ...frame, version: 2 });
  for (const bad of [' v0', ' v', ' v1 ', ' w2', ' v999999']) {
    expect(decodeCall(encodeCall(call) + bad)).toBeUndefined();
    expect(decodeFrame(encodeFrame(frame) + bad)).toBeUndefined();
  }
});

it('round trips an operation', () => {
  fc.assert(
    fc.property(operation, (value) => {
      expect(decodeOperation(legal(encodeOperation(value)))).toEqual(value);
    }),
    runs,
  );
});

it('round trips an error with its details', () => {
  fc.assert(
    fc.property(error, (value) => {
      const back = decodeError(legal(encodeError(value)));
      expect(back?.code).toBe(value.code);
      expect(back?.message).toBe(value.message);
      expect(back?.details).toEqual(value.details);
    }),
    runs,
  );
});

it('bounds an error, whatever its texts', () => {
  const long = '\u{1F600}'.repeat(50_000);
  const details = { hop: long, rule: long, expected: long, found: long, remedy: long };
  const line = encodeError(new NsmError('INTERNAL', long, details));
  expect(line.length).toBeLessThanOrEqual(12 * 1024);
  expect(decodeError(line)?.code).toBe('INTERNAL');
});

it('carries any text as a header, replacing only what is not well formed', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const well = text.replace(/\p{Cs}/gu, '\uFFFD');
      expect(decodeText(legal(encodeText(text)))).toBe(well);
    }),
    runs,
  );
});

it('never throws on a line that a stranger sent', () => {
  const valid = fc.oneof(
    call.map(encodeCall),
    frame.map(encodeFrame),
    operation.map(encodeOperation),
    error.map(encodeError),
  );
  const line = fc.oneof(
    { weight: 3, arbitrary: fc.tuple(valid, fc.nat(), fc.string({ maxLength: 3 })).map(mutate) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 200 }) },
  );
  fc.assert(
    fc.property(line, (text) => {
      const opening = decodeCall(text);
      if (opening !== undefined) expect(opening.window).toBeLessThan(100_000);
      const decoded = decodeFrame(text);
      if (decoded !== undefined) expect(Number.isSafeInteger(decoded.count)).toBe(true);
      const told = decodeOperation(text);
      if (told !== undefined) expect(Number.isSafeInteger(told.epoch)).toBe(true);
      const refusal = decodeError(text);
      if (refusal !== undefined) expect(Object.keys(errorCodes)).toContain(refusal.code);
      decodeText(text);
    }),
    { numRuns: 20_000 },
  );
});

function mutate([line, at, text]: [string, number, string]): string {
  const cut = at % (line.length + 1);
  return line.slice(0, cut) + text + line.slice(cut + (at % 3));
}

function legal(line: string): string {
  checkHeader('x-any', line);
  return line;
}
