// Protects the OVSDB codec: objects are cut out of a stream however it is divided, values and messages are read as
// they were written, and anything else gives one clear error within the bounds.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { createJsonSplitter } from '../../../protocols/ovs/json-frames.ts';
import { decodeOvsdbMessage, readTransactResults } from '../../../protocols/ovs/ovsdb-messages.ts';
import * as operations from '../../../protocols/ovs/ovsdb-operations.ts';
import { createRowView } from '../../../protocols/ovs/ovsdb-rows.ts';
import { readSchema } from '../../../protocols/ovs/ovsdb-schema.ts';
import * as values from '../../../protocols/ovs/ovsdb-values.ts';
import { createGenerator, mutate, randomBytes } from './mutate.ts';

const atom: fc.Arbitrary<values.OvsdbAtom> = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.integer(),
  fc.boolean(),
  fc.uuid().map(values.uuid),
);
const value: fc.Arbitrary<values.OvsdbValue> = fc.oneof(
  atom,
  fc.array(atom, { maxLength: 4 }).map((atoms) => values.setOf(...atoms)),
  fc.dictionary(fc.string(), fc.string(), { maxKeys: 4 }).map(values.mapOf),
);
const row = fc.dictionary(fc.stringMatching(/^[a-z_]{1,8}$/), value, { maxKeys: 4 });
const id = fc.integer({ min: 1 });

/** Every kind of message, as it stands on the wire. */
const wireMessage = fc.oneof(
  fc.record({ method: fc.constant('echo'), params: fc.array(fc.string()), id: fc.string() }),
  fc.record({
    method: fc.constantFrom('update', 'update2'),
    params: fc.tuple(
      fc.string(),
      fc.record({ Port: fc.dictionary(fc.uuid(), fc.record({ new: row }), { maxKeys: 3 }) }),
    ),
    id: fc.constant(null),
  }),
  fc.record({
    result: fc.array(fc.record({ rows: fc.array(row, { maxLength: 3 }) }), { maxLength: 3 }),
    error: fc.constant(null),
    id,
  }),
  fc.record({
    result: fc.constant(null),
    error: fc.record({ error: fc.string(), details: fc.string() }),
    id,
  }),
);
const encode = (message: unknown) => new TextEncoder().encode(JSON.stringify(message));

function errorOf(act: () => unknown): NsmError {
  try {
    act();
  } catch (error) {
    if (error instanceof NsmError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

test('objects are cut out of a stream however its bytes are divided', () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 });
  const gap = fc.constantFrom('', ' ', '\n', '\r\n\t');
  const stream = fc.array(fc.tuple(wireMessage, gap), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(stream, cuts, (parts, sizes) => {
      const text = parts.map(([message, space]) => JSON.stringify(message) + space).join('');
      const bytes = new TextEncoder().encode(text);
      const splitter = createJsonSplitter();
      const found: unknown[] = [];
      for (let offset = 0, turn = 0; offset < bytes.length; turn += 1) {
        const size = sizes[turn % sizes.length] ?? 1;
        found.push(...splitter.push(bytes.subarray(offset, offset + size)));
        offset += size;
      }
      expect(found).toEqual(parts.map(([message]) => JSON.parse(JSON.stringify(message))));
    }),
    { numRuns: 200 },
  );
});

test('every kind of message is told apart', () => {
  fc.assert(
    fc.property(wireMessage, (message) => {
      const [object] = createJsonSplitter().push(encode(message));
      const decoded = decodeOvsdbMessage(object ?? {});
      if ('method' in message) {
        const kind = message.id === null ? 'notification' : 'request';
        expect(decoded).toMatchObject({ kind, method: message.method, params: message.params });
      } else expect(decoded).toMatchObject({ kind: 'response', id: message.id });
    }),
    { numRuns: 300 },
  );
});

test('rows and values are read as they were written', () => {
  fc.assert(
    fc.property(row, (written) => {
      const [object] = createJsonSplitter().push(encode(written));
      expect(values.asRow(object)).toEqual(JSON.parse(JSON.stringify(written)));
    }),
    { numRuns: 200 },
  );
  expect(values.atomsOf(values.setOf('a'))).toEqual(values.atomsOf('a'));
  expect(values.numberOf(values.setOf())).toBeUndefined();
  expect(values.textOf('x')).toBe('x');
  expect(values.uuidsOf(values.setOf(values.uuid('a'), values.uuid('b')))).toEqual(['a', 'b']);
  expect(values.entriesOf(values.mapOf({ key: 'one' })).get('key')).toBe('one');
  expect(errorOf(() => values.numberOf('text'))).toMatchObject({
    code: 'INVALID_ARGUMENT',
    details: { expected: 'a number', found: '"text"' },
  });
});

test('operations have the JSON of RFC 7047 section 5.2', () => {
  const where: operations.Where = [['name', '==', 'x']];
  expect([
    operations.insert('Port', { name: 'x' }, 'p'),
    operations.select('Port', where, ['_uuid']),
    operations.update('Port', where, { tag: 5 }),
    operations.mutate('Bridge', [], [['ports', 'insert', values.namedUuid('p')]]),
    operations.remove('Port', where),
    operations.expectNone('Port', where, 'name'),
    operations.comment('why'),
    operations.abort(),
  ]).toEqual([
    { op: 'insert', table: 'Port', row: { name: 'x' }, 'uuid-name': 'p' },
    { op: 'select', table: 'Port', where, columns: ['_uuid'] },
    { op: 'update', table: 'Port', where, row: { tag: 5 } },
    {
      op: 'mutate',
      table: 'Bridge',
      where: [],
      mutations: [['ports', 'insert', ['named-uuid', 'p']]],
    },
    { op: 'delete', table: 'Port', where },
    { op: 'wait', table: 'Port', where, columns: ['name'], rows: [], until: '==', timeout: 0 },
    { op: 'comment', comment: 'why' },
    { op: 'abort' },
  ]);
});

test('a failed operation is named, and so is a failed commit', () => {
  const two = [operations.insert('Port', { name: 'x' }), operations.comment('why')];
  const failed = [{}, { error: 'constraint violation', details: 'No.' }, null];
  expect(errorOf(() => readTransactResults(two, failed))).toMatchObject({
    code: 'FAILED_PRECONDITION',
    details: { rule: 'operation 2 of 2, comment', found: 'No.' },
  });
  const details =
    'Table Port column interfaces row x references nonexistent row y in table Interface.';
  const commit = [{}, {}, { error: 'referential integrity violation', details }];
  expect(errorOf(() => readTransactResults(two, commit))).toMatchObject({
    code: 'FAILED_PRECONDITION',
    details: { rule: 'commit, Port.interfaces', found: details },
  });
});

test.each([
  ['no object', '[1]', 'INVALID_ARGUMENT'],
  ['text between objects', '{} x', 'INVALID_ARGUMENT'],
  ['no JSON', '{"a":]}', 'INVALID_ARGUMENT'],
  ['a depth beyond the bound', `{"a":${'['.repeat(70)}`, 'RESOURCE_EXHAUSTED'],
  ['a length beyond the bound', `{"a":"${'x'.repeat(2000)}`, 'RESOURCE_EXHAUSTED'],
])('%s is refused with what was expected and found', (_, text, code) => {
  const splitter = createJsonSplitter({ frameBytesMax: 1000 });
  expect(errorOf(() => splitter.push(new TextEncoder().encode(text)))).toMatchObject({
    code,
    details: { expected: expect.any(String), found: expect.any(String) },
  });
});

const schema = readSchema({
  name: 'Test',
  version: '1.0.0',
  tables: {
    Port: {
      columns: {
        name: { type: 'string' },
        tag: { type: { key: { type: 'integer' }, min: 0, max: 1 } },
        trunks: { type: { key: { type: 'integer' }, min: 0, max: 4096 } },
        ids: { type: { key: 'string', value: 'string', min: 0, max: 'unlimited' } },
      },
    },
  },
});
const columns = ['name', 'tag', 'trunks', 'ids'];

test('differences are applied to complete rows, with default values filled in', () => {
  const view = createRowView(schema, [{ table: 'Port', columns }], 10);
  const before = { name: 'a', tag: ['set', []], trunks: ['set', []], ids: ['map', []] };
  expect(view.applyDifferences({ Port: { u1: { insert: { name: 'a' } } } })).toEqual([
    { kind: 'inserted', table: 'Port', uuid: 'u1', row: before },
  ]);
  const first = {
    tag: 7,
    trunks: ['set', [1, 2]],
    ids: [
      'map',
      [
        ['k', 'v'],
        ['l', 'w'],
      ],
    ],
  };
  const [change] = view.applyDifferences({ Port: { u1: { modify: first } } });
  expect(change).toMatchObject({ kind: 'modified', before, row: { name: 'a', ...first } });
  const next = {
    tag: ['set', []],
    trunks: 2,
    ids: [
      'map',
      [
        ['k', 'v'],
        ['l', 'x'],
        ['m', 'y'],
      ],
    ],
  };
  expect(view.applyDifferences({ Port: { u1: { modify: next } } })).toMatchObject([
    {
      row: {
        name: 'a',
        tag: ['set', []],
        trunks: 1,
        ids: [
          'map',
          [
            ['l', 'x'],
            ['m', 'y'],
          ],
        ],
      },
    },
  ]);
  expect(view.applyDifferences({ Port: { u1: { delete: null } } })).toMatchObject([
    { kind: 'deleted', uuid: 'u1' },
  ]);
});

test('full updates are filtered here as a conditional monitor would', () => {
  const where: operations.Where = [['trunks', 'includes', 5]];
  const view = createRowView(schema, [{ table: 'Port', columns, where }], 10);
  const full = (name: string, trunks: unknown) => ({
    new: { name, tag: ['set', []], trunks, ids: ['map', []] },
  });
  const update = (update: unknown) => view.applyUpdates({ Port: { u1: update } });
  expect(update(full('a', ['set', [4, 6]]))).toEqual([]);
  expect(update(full('a', ['set', [4, 5]]))).toMatchObject([{ kind: 'inserted' }]);
  expect(update(full('b', 5))).toMatchObject([{ kind: 'modified', row: { name: 'b' } }]);
  expect(update(full('b', 6))).toMatchObject([{ kind: 'deleted', before: { name: 'b' } }]);
  expect(update({ old: { name: 'b' } })).toEqual([]);
});

test('a view names what the schema lacks, and keeps to its bound', () => {
  const make = (table: string, column: string) => () =>
    createRowView(schema, [{ table, columns: [column] }], 1);
  expect(errorOf(make('Nope', 'name'))).toMatchObject({
    code: 'NOT_FOUND',
    details: { found: 'Nope' },
  });
  expect(errorOf(make('Port', 'no'))).toMatchObject({ details: { found: 'Port.no' } });
  const view = make('Port', 'name')();
  const insert = { insert: { name: 'a' } };
  expect(errorOf(() => view.applyDifferences({ Port: { u1: insert, u2: insert } }))).toMatchObject({
    code: 'RESOURCE_EXHAUSTED',
  });
});

test('40,000 damaged or random frames give messages or one clear error', () => {
  const seed = 7_047_000;
  const pick = createGenerator(seed);
  const valid = fc.sample(wireMessage, { numRuns: 500, seed }).map(encode);
  let refused = 0;
  for (let run = 0; run < 40_000; run += 1) {
    const whole = valid[pick(valid.length)] ?? new Uint8Array(0);
    const bytes = run % 4 === 3 ? randomBytes(1 + pick(200), pick) : mutate(whole, pick);
    const view = createRowView(schema, [{ table: 'Port', columns }], 100);
    try {
      const splitter = createJsonSplitter({ frameBytesMax: 4096 });
      for (const object of splitter.push(bytes)) {
        const message = decodeOvsdbMessage(object);
        if (message.kind === 'response') readTransactResults([], message.result);
        else if (message.method === 'update') view.applyUpdates(message.params[1]);
        else if (message.method === 'update2') view.applyDifferences(message.params[1]);
      }
    } catch (error) {
      if (!(error instanceof NsmError)) {
        throw new Error(`seed ${seed}, run ${run}: ${Buffer.from(bytes).toString('hex')}`, {
          cause: error,
        });
      }
      refused += 1;
    }
  }
  expect(refused).toBeGreaterThan(1000);
});
