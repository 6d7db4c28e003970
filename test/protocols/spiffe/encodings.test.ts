// Protects the encodings below certificates and tokens: DER both ways, times, base64 in its two forms, each strict
// enough that no value has two spellings.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import {
  decodeBase64,
  decodeBase64Url,
  encodeBase64,
  encodeBase64Url,
} from '../../../protocols/spiffe/base64url.ts';
import {
  DerReader,
  derTag,
  readObjectIdentifier,
  readSmallInteger,
  splitDer,
} from '../../../protocols/spiffe/der-reader.ts';
import { readTime } from '../../../protocols/spiffe/der-time.ts';
import {
  derInteger,
  derObjectIdentifier,
  derSequence,
  derTime,
  derValue,
} from '../../../protocols/spiffe/der-writer.ts';

const bytes = fc.uint8Array({ maxLength: 400 });

describe('base64', () => {
  it('is what Node writes, and comes back', () => {
    fc.assert(
      fc.property(bytes, (value) => {
        expect(encodeBase64Url(value)).toBe(Buffer.from(value).toString('base64url'));
        expect(encodeBase64(value)).toBe(Buffer.from(value).toString('base64'));
        expect(decodeBase64Url(encodeBase64Url(value))).toEqual(value);
        expect(decodeBase64(encodeBase64(value))).toEqual(value);
      }),
    );
  });

  it.each(['A', 'AB', 'AA==', 'A+==', 'AA AA', 'AAAA\n', 'AAA/', 'ä'])(
    'url form is not %j',
    (text) => {
      expect(decodeBase64Url(text)).toBeUndefined();
    },
  );

  it.each(['AA', 'AB==', 'AA=A', 'A===', 'AA-A', '====', 'AAAA='])(
    'padded form is not %j',
    (text) => {
      expect(decodeBase64(text)).toBeUndefined();
    },
  );
});

describe('DER', () => {
  it('reads what it writes, of any length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70_000 }), (content) => {
        const [value] = splitDer(derSequence(derValue(derTag.octetString, content)), 'it', 1);
        const inner = new DerReader(value ?? new Uint8Array()).enter('it').read('it');
        expect(Buffer.from(inner.content).equals(content)).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it.each([
    ['an indefinite length', [0x30, 0x80, 0, 0]],
    ['a long form where the short one does', [0x30, 0x81, 0x01, 0x00]],
    [
      'a length with a leading zero',
      [0x30, 0x82, 0x00, 0x80, ...Array.from({ length: 128 }, () => 0)],
    ],
    ['a length of four bytes', [0x30, 0x84, 0, 0, 0, 1, 0]],
    ['a length beyond the end', [0x30, 0x05, 0x00]],
    ['a tag without a length', [0x30]],
    ['a tag of several bytes', [0x3f, 0x81, 0x00]],
    ['another tag', [0x31, 0x00]],
  ])('is not %s', (_, value) => {
    expect(() => splitDer(Uint8Array.from(value), 'it', 10)).toThrow(NsmError);
  });

  it('is split into no more values than asked for', () => {
    const three = Uint8Array.of(0x30, 0, 0x30, 0, 0x30, 0);
    expect(splitDer(three, 'it', 3)).toHaveLength(3);
    expect(() => splitDer(three, 'it', 2)).toThrow(NsmError);
  });

  it('keeps object identifiers and small integers', () => {
    for (const dotted of [
      '2.5.29.17',
      '1.2.840.113549.1.1.11',
      '0.9.2342',
      '2.999.1',
      '1.3.101.112',
    ]) {
      const content = new DerReader(derObjectIdentifier(dotted)).read('it').content;
      expect(readObjectIdentifier(content, 'it')).toBe(dotted);
    }
    for (const value of [0, 1, 127, 128, 255, 256, 65_535, 2 ** 31 - 1]) {
      const big = Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
      expect(readSmallInteger(new DerReader(derInteger(big)).read('it').content, 'it')).toBe(value);
    }
    for (const odd of [[], [0x80], [0x00, 0x7f], [0xff], [1, 0, 0, 0, 0]]) {
      expect(() => readSmallInteger(Uint8Array.from(odd), 'it')).toThrow(NsmError);
    }
    for (const odd of [
      [],
      [0x80, 0x01],
      [0x81],
      [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    ]) {
      expect(() => readObjectIdentifier(Uint8Array.from(odd), 'it')).toThrow(NsmError);
    }
  });
});

describe('a time', () => {
  it('comes back from 1950 to 9999', () => {
    const from = Date.UTC(1950, 0, 1) / 1000;
    const to = Date.UTC(9999, 11, 31, 23, 59, 59) / 1000;
    fc.assert(
      fc.property(fc.integer({ min: from, max: to }), (seconds) => {
        const der = derTime(new Date(seconds * 1000).toISOString());
        expect(readTime(new DerReader(der).read('it'), 'it')).toBe(seconds * 1000);
      }),
    );
  });

  it.each([
    [derTag.utcTime, '260230000000Z'],
    [derTag.utcTime, '261301000000Z'],
    [derTag.utcTime, '260001000000Z'],
    [derTag.utcTime, '260101240000Z'],
    [derTag.utcTime, '260101006000Z'],
    [derTag.utcTime, '260101000060Z'],
    [derTag.utcTime, '2601010000Z'],
    [derTag.utcTime, '260101000000+0100'],
    [derTag.utcTime, '20260101000000Z'],
    [derTag.generalizedTime, '20260101000000.5Z'],
    [derTag.generalizedTime, '20250229000000Z'],
    [derTag.octetString, '260101000000Z'],
  ])('of kind %i is not %s', (tag, text) => {
    const der = derValue(tag, new TextEncoder().encode(text));
    expect(() => readTime(new DerReader(der).read('it'), 'it')).toThrow(NsmError);
  });
});
