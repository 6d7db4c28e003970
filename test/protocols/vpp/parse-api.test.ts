// Protects the reader of API definitions: old and newer layouts mean the same, and bad input is refused with file,
// message, field, what was expected and what was found.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { createCatalog } from '../../../protocols/vpp/api-catalog.ts';
import { parseApiJson, parseModule } from '../../../protocols/vpp/parse-api.ts';
import { createGenerator, mutate } from '../ovs/mutate.ts';
import { fixtureFolder, forwarderApi, knownApis } from './known-apis.ts';

const id = ['u16', '_vl_msg_id'];

/** One message with these fields, beside what is given. */
const withFields = (fields: readonly unknown[], more: object = {}): object => ({
  messages: [['m', id, ...fields, { crc: '0x1' }]],
  ...more,
});

const compiled = (json: unknown) => createCatalog([parseModule(json, 'x.api.json')]).codec('m');

test('the older layout: no unions, aliases, options or imports, bare names of types, text as bytes', () => {
  const text = readFileSync(join(fixtureFolder, 'older-layout.api.json'), 'utf8');
  const catalog = createCatalog(parseApiJson(text, 'older.api.json'));
  const addresses = [{ is_ip6: 1, address: new Uint8Array(16).fill(9) }];
  const codec = catalog.codec('older_link_add');
  const { fields } = codec.decode(codec.encode(1, {}, { addresses }));
  expect(fields).toMatchObject({ host_if_name: new Uint8Array(64), n_addresses: 1, addresses });
  expect(catalog.service('older_link_dump')).toMatchObject({
    reply: 'older_link_details',
    isStream: true,
  });
});

test('an empty list of services, and names of types with and without what vppapigen puts around them', () => {
  const codec = compiled(
    withFields(
      [
        ['vl_api_a_t', 'x'],
        ['a', 'y'],
      ],
      { services: [], types: [['a', ['u8', 'z']]] },
    ),
  );
  const fields = { x: { z: 1 }, y: { z: 2 } };
  expect(codec.decode(codec.encode(1, {}, fields)).fields).toEqual(fields);
});

test('services: replies, dumps, streams, events, and requests that nothing answers', () => {
  const text = readFileSync(join(fixtureFolder, 'constructs.api.json'), 'utf8');
  const catalog = createCatalog(parseApiJson(text, 'constructs.api.json'));
  const kinds = ['scalars', 'arrays_dump', 'kinds_get', 'want_changes', 'silent'].map((name) =>
    catalog.service(name),
  );
  expect(kinds).toMatchObject([
    { reply: 'scalars_reply', isStream: false, streamMessage: undefined, events: [] },
    { reply: 'arrays_details', isStream: true, streamMessage: undefined },
    { reply: 'kinds_get_reply', isStream: false, streamMessage: 'kinds_details' },
    { reply: 'want_changes_reply', events: ['change_event'] },
    { reply: undefined },
  ]);
  expect(catalog.isEvent('change_event')).toBe(true);
  expect(catalog.isEvent('scalars_reply')).toBe(false);
  expect(catalog.message('texts')?.isDeprecated).toBe(true);
});

test('the list of modules that a running VPP sends is read as one set', () => {
  expect(forwarderApi.length).toBeGreaterThan(10);
  expect(createCatalog(forwarderApi).names.length).toBeGreaterThan(130);
});

describe.each(knownApis)('%s', (_, modules) => {
  test('every reply, detail and event that a service names is a message', () => {
    const catalog = createCatalog(modules);
    for (const { services } of modules) {
      for (const { request, reply, streamMessage, events } of services) {
        const named = [request, reply, streamMessage, ...events].filter(
          (name) => name !== undefined,
        );
        expect(named.filter((name) => catalog.message(name) === undefined)).toEqual([]);
      }
    }
  });
});

describe('refused with file, place, expected and found', () => {
  const cases: readonly (readonly [string, unknown, object])[] = [
    ['no object', [], { rule: 'module', expected: 'an object' }],
    ['no messages', { types: [] }, { rule: 'module', expected: 'messages', found: 'types' }],
    ['messages that are no list', { messages: {} }, { rule: 'messages', expected: 'a list' }],
    ['a message without a name', { messages: [[id]] }, { rule: 'message' }],
    [
      'a message without a checksum',
      { messages: [['m', id]] },
      { rule: 'message m', found: 'nothing' },
    ],
    [
      'a message without its id',
      { messages: [['m', ['u32', 'context'], { crc: '0x1' }]] },
      { rule: 'message m', found: 'context' },
    ],
    ['a field without a name', withFields([['u8']]), { rule: 'message m', found: '["u8"]' }],
    ['a field that is no list', withFields(['u8']), { rule: 'message m' }],
    [
      'a negative length',
      withFields([['u8', 'f', -1]]),
      { rule: 'message m, field f', expected: 'a length from 0 to 65536', found: '-1' },
    ],
    ['too large a length', withFields([['u8', 'f', 1e9]]), { found: '1000000000' }],
    ['a length that is text', withFields([['u8', 'f', 'n']]), { rule: 'message m, field f' }],
    ['a count beside a length', withFields([['u8', 'f', 3, 'n']]), { found: '3' }],
    ['too much of a field', withFields([['u8', 'f', 0, 'n', 'x']]), { rule: 'message m, field f' }],
    ['a default of no kind', withFields([['u8', 'f', { default: [] }]]), { found: '[]' }],
    [
      'an unknown type',
      withFields([['vl_api_nope_t', 'f']]),
      { rule: 'message m, field f', found: 'nope' },
    ],
    [
      'an array without its count',
      withFields([['u8', 'f', 0]]),
      { expected: 'a count field beside length 0' },
    ],
    [
      'a count that comes too late',
      withFields([
        ['u8', 'f', 0, 'n'],
        ['u8', 'n'],
      ]),
      { rule: 'message m, field f', expected: 'its count in an earlier field', found: 'n' },
    ],
    ['a count that is not there', withFields([['u8', 'f', 0, 'n']]), { found: 'n' }],
    [
      'a count that is no number',
      withFields([
        ['bool', 'n'],
        ['u8', 'f', 0, 'n'],
      ]),
      { rule: 'message m, field n', expected: 'an integer, since it counts' },
    ],
    [
      'a name used twice',
      withFields([
        ['u8', 'f'],
        ['u8', 'f'],
      ]),
      { expected: 'a name used once' },
    ],
    [
      'a type that contains itself',
      withFields([['a', 'f']], {
        types: [
          ['a', ['b', 'g']],
          ['b', ['a', 'h', 2]],
        ],
      }),
      { rule: 'type b, field h', found: 'a in b' },
    ],
    [
      'an array of what takes no bytes',
      withFields([['a', 'f', 9]], { types: [['a']] }),
      { rule: 'message m, field f', expected: 'elements of at least a byte' },
    ],
    [
      'an alias of itself',
      withFields([['a', 'f']], { aliases: { a: { type: 'a' } } }),
      { found: 'a' },
    ],
    [
      'a type beyond all bounds',
      withFields([['a', 'f', 60_000]], { types: [['a', ['u8', 'g', 60_000]]] }),
      { rule: 'message m', expected: 'at most 1048576 bytes' },
    ],
    [
      'a union of what has no size',
      withFields([['a', 'f']], { unions: [['a', ['string', 'g']]] }),
      { rule: 'union a, field g', expected: 'a member of one size' },
    ],
    [
      'a default out of range',
      withFields([['u8', 'f', { default: 256 }]]),
      { rule: 'message m, field f', found: 'the default 256' },
    ],
    [
      'a default that is no number',
      withFields([['u64', 'f', { default: 'many' }]]),
      { rule: 'message m, field f', found: 'the default many' },
    ],
    [
      'an enum of text',
      withFields([], { enums: [['e', { enumtype: 'string' }]] }),
      { rule: 'enum e' },
    ],
    [
      'a value of an enum without number',
      withFields([], { enums: [['e', ['A']]] }),
      { found: '["A"]' },
    ],
    ['an alias without type', withFields([], { aliases: { a: {} } }), { rule: 'alias a' }],
    ['services that are text', withFields([], { services: 'x' }), { rule: 'services' }],
    ['a service without reply', withFields([], { services: { m: {} } }), { rule: 'service m' }],
    [
      'events that are no names',
      withFields([], { services: { m: { reply: 'r', events: [1] } } }),
      { rule: 'service m', expected: 'names of events' },
    ],
  ];

  test.each(cases)('%s', (_, json, details) => {
    expect(() => compiled(json)).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        message: 'the API definitions of x.api.json break their format',
        details: expect.objectContaining({
          rule: expect.any(String),
          expected: expect.any(String),
          found: expect.any(String),
          ...details,
        }),
      }),
    );
  });

  test('text that is no JSON', () => {
    expect(() => parseApiJson('{', 'x.api.json')).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({ expected: 'JSON' }),
      }),
    );
  });

  test('one message defined twice, differently', () => {
    const modules = ['0x1', '0x2'].map((crc) =>
      parseModule({ messages: [['m', id, { crc }]] }, crc),
    );
    expect(() => createCatalog(modules)).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({
          expected: 'm_00000001 as in 0x1',
          found: 'm_00000002 in 0x2',
        }),
      }),
    );
  });
});

test('3,000 damaged files give definitions that work or one clear error', () => {
  const seed = 20_261_129;
  const pick = createGenerator(seed);
  const names = ['constructs', 'older-layout'];
  const files = names.map((name) => readFileSync(join(fixtureFolder, `${name}.api.json`)));
  let refused = 0;
  for (let run = 0; run < 3000; run += 1) {
    const whole = files[run % files.length] ?? new Uint8Array(0);
    const text = Buffer.from(mutate(whole, pick)).toString('utf8');
    try {
      const catalog = createCatalog(parseApiJson(text, 'damaged'));
      for (const name of catalog.names) {
        const codec = catalog.codec(name);
        codec.decode(codec.encode(1, {}, {}));
      }
    } catch (error) {
      if (!(error instanceof NsmError) || error.code !== 'INVALID_ARGUMENT') {
        throw new Error(`seed ${seed}, run ${run}: ${text}`, { cause: error });
      }
      refused += 1;
    }
  }
  expect(refused).toBeGreaterThan(1000);
});
