// Protects the frames of VPP's socket and the handshake: messages are cut out however the bytes are divided, bounds hold,
// and bytes that are nothing give one clear error, whatever they are.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { createCatalog } from '../../../protocols/vpp/api-catalog.ts';
import { builtinApi } from '../../../protocols/vpp/builtin-api.ts';
import { createFrameSplitter, encodeFrame } from '../../../protocols/vpp/frames.ts';
import { decodeHandshake, encodeHandshake } from '../../../protocols/vpp/handshake.ts';
import type { MessageCodec } from '../../../protocols/vpp/message-codec.ts';
import { createGenerator, mutate, randomBytes } from '../ovs/mutate.ts';
import { bodyOf, fieldsArbitrary } from './api-arbitraries.ts';
import { constructs, forwarderApi } from './known-apis.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test('a frame is 16 bytes with the length of the message at the ninth, then the message', () => {
  expect(hex(encodeFrame(Uint8Array.of(0x11, 0x22, 0x33)))).toBe(
    '0000000000000000' + '00000003' + '00000000' + '112233',
  );
});

test('messages are cut out of a stream however its bytes are divided', () => {
  const messages = fc.array(fc.uint8Array({ minLength: 2, maxLength: 200 }), {
    minLength: 1,
    maxLength: 6,
  });
  const cuts = fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(messages, cuts, (sent, sizes) => {
      const bytes = Buffer.concat(sent.map(encodeFrame));
      const splitter = createFrameSplitter();
      const found: string[] = [];
      for (let offset = 0, turn = 0; offset < bytes.length; turn += 1) {
        const size = sizes[turn % sizes.length] ?? 1;
        // One buffer for all reads, as a socket may use it.
        const read = Uint8Array.from(bytes.subarray(offset, offset + size));
        found.push(...splitter.push(read).map(hex));
        read.fill(0xee);
        offset += size;
      }
      expect(found).toEqual(sent.map(hex));
    }),
    { numRuns: 200 },
  );
});

test('a large frame in small parts is joined once', () => {
  const message = new Uint8Array(2_000_000).fill(7);
  const frame = encodeFrame(message);
  const splitter = createFrameSplitter();
  const found: Uint8Array[] = [];
  for (let offset = 0; offset < frame.length; offset += 4096) {
    found.push(...splitter.push(frame.subarray(offset, offset + 4096)));
  }
  expect(found.map(({ length }) => length)).toEqual([message.length]);
});

test.each([
  ['no message is so short', 0, 'INVALID_ARGUMENT', 'at least 2'],
  ['longer than the bound', 101, 'RESOURCE_EXHAUSTED', 'at most 100 bytes'],
])('%s: refused by the header alone', (_, length, code, expected) => {
  const splitter = createFrameSplitter(100);
  const frame = encodeFrame(new Uint8Array(length));
  const details = { rule: 'frame length', expected, found: `${length}` };
  expect(() => splitter.push(frame.subarray(0, 16))).toThrow(
    expect.objectContaining({ code, details }),
  );
});

describe('the handshake', () => {
  const reply = (fields: object, id = 16) =>
    builtinApi.codec('sockclnt_create_reply').encode(id, {}, { ...fields });

  test('begins with a fixed id and 64 bytes of name, and without a client index', () => {
    const bytes = encodeHandshake('vwire');
    expect(hex(bytes)).toBe('000f' + '00000000' + '7677697265' + '00'.repeat(59));
    expect(encodeHandshake('x'.repeat(200))).toHaveLength(bytes.length);
  });

  test('ends with the index that the client goes by, and the table of messages', () => {
    const table = [
      { index: 700, name: 'control_ping_51077d14' },
      { index: 701, name: 'sw_interface_dump_aa610c27' },
    ];
    const handshake = decodeHandshake(reply({ index: 0x80000001, message_table: table }));
    expect(handshake.clientIndex).toBe(0x80000001);
    expect(handshake.ids.get('sw_interface_dump_aa610c27')).toBe(701);
    expect(handshake.keys.get(700)).toBe('control_ping_51077d14');
  });

  test('another message and a refusal are clear errors', () => {
    expect(() => decodeHandshake(reply({}, 99))).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({ rule: 'handshake', found: 'message 99' }),
      }),
    );
    expect(() => decodeHandshake(reply({ response: -1 }))).toThrow(
      expect.objectContaining({ code: 'PERMISSION_DENIED' }),
    );
  });
});

const seed = 20_261_129;

interface Valid {
  readonly codec: MessageCodec;
  readonly bytes: Uint8Array;
}

function validMessages(): Valid[] {
  const modules = [...forwarderApi, ...constructs];
  return modules.flatMap((module) => {
    const catalog = createCatalog([module]);
    return module.messages.flatMap((message): Valid[] => {
      const codec = catalog.codec(message.name);
      const values = fieldsArbitrary(module, bodyOf(message));
      return fc
        .sample(values, { numRuns: 3, seed })
        .map((fields) => ({ codec, bytes: codec.encode(1, {}, fields) }));
    });
  });
}

/** Runs in parts, so that each stays short and names its own seed. */
describe.each([1, 2, 3, 4])('part %i of the fuzz', (part) => {
  test('30,000 frames, half of them damaged valid ones, give messages or one clear error', () => {
    const pick = createGenerator(seed + part);
    const valid = validMessages();
    const counts = { refused: 0, read: 0 };
    for (let run = 0; run < 30_000; run += 1) {
      const { codec, bytes } = valid[pick(valid.length)] as Valid;
      const input = inputOf(run, bytes, pick);
      try {
        for (const message of createFrameSplitter(1_000_000).push(input)) {
          codec.decode(message);
          counts.read += 1;
        }
      } catch (error) {
        if (!(error instanceof NsmError)) {
          throw new Error(`seed ${seed + part}, run ${run}, ${codec.name}: ${hex(input)}`, {
            cause: error,
          });
        }
        counts.refused += 1;
      }
    }
    expect(counts.refused).toBeGreaterThan(5000);
    expect(counts.read).toBeGreaterThan(5000);
  });
});

function inputOf(
  run: number,
  bytes: Uint8Array,
  pick: (exclusiveMax: number) => number,
): Uint8Array {
  switch (run % 4) {
    case 0:
      return encodeFrame(mutate(bytes, pick));
    case 1:
      return mutate(encodeFrame(bytes), pick);
    case 2:
      return encodeFrame(randomBytes(2 + pick(120), pick));
    default:
      return randomBytes(16 + pick(120), pick);
  }
}
