// Protects the OpenFlow codec: every message type that is used survives encoding and decoding unchanged, and bytes
// that are no message give one clear error, whatever they are.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { addFlow, fromPort, output } from '../../../protocols/ovs/flow-builders.ts';
import { createFrameSplitter } from '../../../protocols/ovs/openflow-frames.ts';
import { decodeMessage, encodeMessage } from '../../../protocols/ovs/openflow-messages.ts';
import { anyMessage, bodies, withXid } from './openflow-arbitraries.ts';
import { createGenerator, mutate, randomBytes } from './mutate.ts';

describe('every message type survives encoding and decoding', () => {
  test.each(Object.entries(bodies))('%s', (_, body) => {
    fc.assert(
      fc.property(withXid(body), (message) => {
        expect(decodeMessage(encodeMessage(message))).toEqual(message);
      }),
      { numRuns: 60 },
    );
  });
});

test('a flow modification has the bytes that the specification lays out', () => {
  const mod = addFlow({
    cookie: 0x1122n,
    priority: 100,
    match: [fromPort(1)],
    actions: [output(2)],
  });
  const hex = Buffer.from(encodeMessage({ kind: 'flowMod', xid: 7, mod })).toString('hex');
  const expected = [
    '040e005800000007', // Version 4, FLOW_MOD, 88 bytes, xid 7.
    '00000000000011220000000000000000', // Cookie and mask.
    '0000000000000064', // Table 0, add, no timeouts, priority 100.
    'ffffffffffffffffffffffff00000000', // No buffer, any port, any group, no flags.
    '0001000c80000004000000010000000' + '0', // OXM match of 12 bytes, in_port 1, padding.
    '00040018' + '00000000', // Apply actions, 24 bytes.
    '0000001000000002' + '0000000000000000', // Output to port 2.
  ];
  expect(hex).toBe(expected.join(''));
});

test('messages are cut out of a stream however its bytes are divided', () => {
  const stream = fc.array(anyMessage, { minLength: 1, maxLength: 5 });
  const cuts = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(stream, cuts, (messages, sizes) => {
      const bytes = Buffer.concat(messages.map(encodeMessage));
      const splitter = createFrameSplitter();
      const found = [];
      for (let offset = 0, turn = 0; offset < bytes.length; turn += 1) {
        const size = sizes[turn % sizes.length] ?? 1;
        found.push(...splitter.push(Uint8Array.from(bytes.subarray(offset, offset + size))));
        offset += size;
      }
      expect(found.map(decodeMessage)).toEqual(messages);
    }),
    { numRuns: 100 },
  );
});

test.each([
  [
    'an over-long message',
    () => encodeMessage({ kind: 'echoRequest', xid: 1, data: new Uint8Array(65_536) }),
  ],
  [
    'a length below the header',
    () => createFrameSplitter().push(Uint8Array.of(4, 2, 0, 7, 0, 0, 0, 1)),
  ],
  ['another version', () => decodeMessage(Uint8Array.of(6, 20, 0, 8, 0, 0, 0, 1))],
  [
    'a match value out of range',
    () =>
      encodeMessage({
        kind: 'flowMod',
        xid: 1,
        mod: addFlow({
          cookie: 0n,
          priority: 1,
          match: [{ field: 'vlanVid', value: 65_536 }],
          actions: [],
        }),
      }),
  ],
])('%s is refused with what was expected and found', (_, act) => {
  expect(act).toThrow(NsmError);
  try {
    act();
  } catch (error) {
    expect(error).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { expected: expect.any(String), found: expect.any(String) },
    });
  }
});

test('40,000 damaged or random frames give a message or one clear error', () => {
  const seed = 20_261_120;
  const pick = createGenerator(seed);
  const valid = fc.sample(anyMessage, { numRuns: 500, seed }).map(encodeMessage);
  let refused = 0;
  for (let run = 0; run < 40_000; run += 1) {
    const whole = valid[pick(valid.length)] ?? new Uint8Array(0);
    const bytes = run % 4 === 3 ? randomBytes(8 + pick(200), pick) : mutate(whole, pick);
    // The header's length is made right for half of them, so that the bodies are reached.
    if (pick(2) === 0 && bytes.length >= 8) {
      new DataView(bytes.buffer).setUint16(2, bytes.length);
      bytes[0] = 4;
    }
    try {
      for (const frame of createFrameSplitter().push(bytes)) decodeMessage(frame);
    } catch (error) {
      if (!(error instanceof NsmError) || error.code !== 'INVALID_ARGUMENT') {
        throw new Error(`seed ${seed}, run ${run}: ${Buffer.from(bytes).toString('hex')}`, {
          cause: error,
        });
      }
      refused += 1;
    }
  }
  expect(refused).toBeGreaterThan(1000);
});
