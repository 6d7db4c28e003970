// Protects the codec that is made at run time: every message of every definition at hand can be used and survives
// encoding and decoding, bytes are laid out as VPP has them, and what does not fit is one clear error.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { createCatalog } from '../../../protocols/vpp/api-catalog.ts';
import type { VppFields } from '../../../protocols/vpp/values.ts';
import { bodyOf, fieldsArbitrary } from './api-arbitraries.ts';
import { constructs, forwarderApi, knownApis, realApi } from './known-apis.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

if (realApi === undefined) {
  console.warn('skipped over a real VPP, no definitions: VWIRE_VPP_API_DIR is not set');
}

describe.each(knownApis)('every message of %s', (_, modules) => {
  const catalog = createCatalog(modules);

  test('can be encoded without a field given, and decoded', () => {
    for (const name of catalog.names) {
      const codec = catalog.codec(name);
      const bytes = codec.encode(7, { clientIndex: 1, context: 2 }, {});
      const { fields } = codec.decode(bytes);
      expect(hex(codec.encode(7, { clientIndex: 1, context: 2 }, fields))).toBe(hex(bytes));
    }
  });

  test('survives encoding and decoding', () => {
    const runs = catalog.names.length > 500 ? 6 : 30;
    for (const module of modules) {
      for (const message of module.messages) {
        const codec = catalog.codec(message.name);
        const values = fieldsArbitrary(module, bodyOf(message));
        const roundTrip = fc.property(values, (fields) => {
          const bytes = codec.encode(300, { clientIndex: 0x80000001, context: 9 }, fields);
          expect(codec.decode(bytes).fields, message.name).toEqual(fields);
        });
        fc.assert(roundTrip, { numRuns: runs });
      }
    }
  });

  test('cut anywhere is refused, with bytes behind it is not', () => {
    for (const module of modules) {
      for (const message of module.messages) {
        const codec = catalog.codec(message.name);
        const values = fieldsArbitrary(module, bodyOf(message));
        const [fields] = fc.sample(values, { numRuns: 1, seed: 1 }) as [VppFields];
        const bytes = codec.encode(1, {}, fields);
        expect(codec.decode(Uint8Array.from([...bytes, 1, 2, 3])).fields).toEqual(fields);
        const cut = Math.floor(bytes.length / 2);
        if (bytes.length <= 2) continue;
        expect(() => codec.decode(bytes.slice(0, cut)), message.name).toThrow(NsmError);
      }
    }
  });
});

const forwarder = createCatalog(forwarderApi);
const language = createCatalog(constructs);

describe('bytes', () => {
  test('a request: id, client, context, then packed big-endian fields with defaults filled in', () => {
    const codec = forwarder.codec('sw_interface_dump');
    expect(codec.key).toBe('sw_interface_dump_aa610c27');
    const bytes = codec.encode(0x0102, { clientIndex: 0x80000001, context: 5 }, {});
    expect(hex(bytes)).toBe(
      [
        '0102', // Message id.
        '80000001', // Client.
        '00000005', // Context.
        'ffffffff', // sw_if_index by default all ones.
        '00', // name_filter_valid.
        '00000000', // An empty text of variable length.
      ].join(''),
    );
  });

  test('an ACL: the count goes before its rules, addresses take 16 bytes', () => {
    const address = (...first: number[]) => ({
      af: 0,
      un: Uint8Array.from({ length: 16 }, (_, index) => first[index] ?? 0),
    });
    const bytes = forwarder.codec('acl_add_replace').encode(
      1,
      {},
      {
        acl_index: 0xffff_ffff,
        tag: 'vwire',
        r: [
          {
            is_permit: 1,
            src_prefix: { address: address(10, 0, 0, 0), len: 8 },
            dst_prefix: { address: address(), len: 0 },
            proto: 6,
            srcport_or_icmptype_last: 65_535,
            dstport_or_icmpcode_first: 80,
            dstport_or_icmpcode_last: 80,
          },
        ],
      },
    );
    expect(hex(bytes.slice(10))).toBe(
      [
        'ffffffff', // acl_index.
        '7677697265' + '00'.repeat(59), // A tag of 64 bytes.
        '00000001', // One rule.
        '01', // Permit.
        '00' + '0a000000' + '00'.repeat(12) + '08', // 10.0.0.0/8
        '00' + '00'.repeat(16) + '00', // 0.0.0.0/0
        '06', // TCP.
        '0000' + 'ffff' + '0050' + '0050', // Ports.
        '0000', // TCP flags.
      ].join(''),
    );
  });

  test('f64 is little-endian, and signed integers are two-complement', () => {
    const codec = language.codec('scalars');
    const bytes = codec.encode(1, {}, { e: -1, f: -2, g: -3, h: -4n, i: 1, j: false });
    expect(hex(bytes.slice(10 + 15))).toBe(
      'ff' + 'fffe' + 'fffffffd' + 'fffffffffffffffc' + '000000000000f03f' + '00',
    );
    const defaults = codec.encode(1, {}, {}).slice(-9);
    expect(hex(defaults)).toBe('000000000000f83f' + '01');
  });

  test('an event has a client index where an answer has its context', () => {
    const codec = language.codec('change_event');
    expect(codec.isAnswer).toBe(false);
    expect(codec.decode(codec.encode(1, { clientIndex: 8 }, { pid: 3, what: 2 }))).toEqual({
      header: { clientIndex: 8 },
      fields: { pid: 3, what: 2 },
    });
    expect(language.codec('scalars_reply').isAnswer).toBe(true);
  });

  test('a union takes one member by name, or its bytes, and always the size of the largest', () => {
    const codec = language.codec('kinds_details');
    const wider = (value: unknown) => {
      const bytes = codec.encode(1, {}, { wider: value } as VppFields);
      return hex(codec.decode(bytes).fields['wider'] as Uint8Array);
    };
    expect(wider({ either: { number: 0x01020304 } })).toBe('0102030400000000');
    expect(wider({ big: 5n })).toBe('0000000000000005');
    expect(wider(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))).toBe('0102030405060708');
    expect(wider(undefined)).toBe('0000000000000000');
  });

  test('text of 64 bytes without an end is read to its last byte, text of no UTF-8 with replacements', () => {
    const codec = language.codec('texts');
    const bytes = codec.encode(1, {}, { sized: 'é', word: 'w' });
    bytes.fill(0x41, 10, 26);
    bytes[30] = 0xff;
    expect(codec.decode(bytes).fields).toMatchObject({
      padded: 'A'.repeat(16),
      sized: '\ufffd\ufffd',
      word: 'w',
    });
  });
});

describe('what does not fit is refused by message and field', () => {
  const cases: readonly (readonly [string, string, unknown, object])[] = [
    ['a number out of range', 'scalars', { a: 256 }, { rule: 'scalars.a', found: '256' }],
    ['a fraction', 'scalars', { g: 1.5 }, { rule: 'scalars.g', found: '1.5' }],
    ['a number for 64 bits', 'scalars', { d: 1 }, { rule: 'scalars.d', found: '1' }],
    ['text for a number', 'scalars', { b: 'x' }, { rule: 'scalars.b', found: '"x"' }],
    ['a number for true', 'scalars', { j: 1 }, { rule: 'scalars.j', expected: 'true or false' }],
    ['an unknown field', 'scalars', { z: 1 }, { rule: 'scalars.z', found: 'none' }],
    ['too long a text', 'texts', { padded: 'x'.repeat(16) }, { expected: 'at most 15 bytes' }],
    ['text with NUL', 'texts', { sized: 'a\0b' }, { expected: 'text without NUL' }],
    ['too few bytes', 'arrays_details', { key: new Uint8Array(3) }, { found: '3 bytes' }],
    ['a list for bytes', 'arrays_details', { key: [1] }, { found: 'a list of 1' }],
    ['too short a list', 'arrays_details', { mtu: [1, 2] }, { expected: 'a list of 4' }],
    [
      'an element deep inside',
      'arrays_details',
      { nested: { rows: [{}, { points: [{ x: 1 }, { x: 40_000 }] }] } },
      { rule: 'arrays_details.nested.rows[1].points[1].x', found: '40000' },
    ],
    [
      'arrays of one count that differ',
      'arrays_dump',
      { raw: new Uint8Array(2), numbers: [1] },
      { rule: 'arrays_dump.n', found: '2 and 1 of numbers' },
    ],
    [
      'a count that is wrong',
      'arrays_dump',
      { n: 3, raw: new Uint8Array(1), numbers: [1] },
      { rule: 'arrays_dump.n', found: '3' },
    ],
    [
      'more elements than the count can say',
      'arrays_dump',
      { raw: new Uint8Array(256), numbers: Array.from({ length: 256 }, () => 0) },
      { rule: 'arrays_dump.n', found: '256' },
    ],
    [
      'two members of a union',
      'kinds_details',
      { wider: { big: 1n, either: {} } },
      { rule: 'kinds_details.wider', expected: 'bytes, or one of: either, big' },
    ],
    [
      'no member of a union',
      'kinds_details',
      { wider: { small: 1 } },
      { rule: 'kinds_details.wider', found: 'small' },
    ],
  ];

  test.each(cases)('%s', (_, message, fields, details) => {
    expect(() => language.codec(message).encode(1, {}, fields as VppFields)).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining(details),
      }),
    );
  });

  test('a count from VPP that its bytes cannot hold allocates nothing', () => {
    const codec = forwarder.codec('acl_details');
    const bytes = codec.encode(1, {}, { r: [] });
    new DataView(bytes.buffer).setUint32(bytes.length - 4, 0xffff_ffff);
    expect(() => codec.decode(bytes)).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: {
          rule: 'acl_details.r',
          expected: expect.stringContaining('4294967295'),
          found: '0',
        },
      }),
    );
  });

  test('a message that the definitions lack', () => {
    expect(() => language.codec('nope')).toThrow(
      expect.objectContaining({
        code: 'UNIMPLEMENTED',
        details: expect.objectContaining({ found: 'nope' }),
      }),
    );
  });
});
