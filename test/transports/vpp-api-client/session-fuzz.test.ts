// Protects one connection against whatever its peer sends: from the handshake on, damaged or random frames end in a
// message, in nothing, or in one clear error that ends the stream, never in a crash, and calls keep their answers.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { createCatalog } from '../../../protocols/vpp/api-catalog.ts';
import { builtinApi } from '../../../protocols/vpp/builtin-api.ts';
import { createFrameSplitter, encodeFrame } from '../../../protocols/vpp/frames.ts';
import { answerContextOf, messageIdOf } from '../../../protocols/vpp/message-codec.ts';
import { VppSession } from '../../../transports/vpp-api-client/vpp-session.ts';
import { bodyOf, fieldsArbitrary } from '../../protocols/vpp/api-arbitraries.ts';
import { constructs, forwarderApi } from '../../protocols/vpp/known-apis.ts';
import { createGenerator, mutate, randomBytes } from '../../protocols/ovs/mutate.ts';

const modules = [...forwarderApi, ...constructs];
const catalog = createCatalog(modules);
const firstId = 100;
const table = catalog.names.map((name, index) => ({
  index: firstId + index,
  name: catalog.codec(name).key,
}));
const idOf = (name: string): number => firstId + catalog.names.indexOf(name);
const greeting = encodeFrame(
  builtinApi.codec('sockclnt_create_reply').encode(16, {}, { index: 7, message_table: table }),
);

/** A session that is ready, with one call that waits for ever. */
function connect(): { session: VppSession; sent: Uint8Array[]; events: string[] } {
  const sent: Uint8Array[] = [];
  const events: string[] = [];
  const session = new VppSession({
    stream: {
      send: (bytes) => void sent.push(...createFrameSplitter().push(bytes)),
      ready: () => {},
      fail: (error) => {
        throw error;
      },
    },
    events: {
      definitions: () => catalog,
      onDefinitions: () => catalog,
      onReady: () => events.push('ready'),
      onEvent: (name) => events.push(name),
    },
    clientName: 'fuzz',
    frameBytesMax: 100_000,
    hop: 'the peer',
  });
  session.receive(greeting);
  const ping = sent.at(-1) ?? new Uint8Array(0);
  expect(messageIdOf(ping)).toBe(idOf('control_ping'));
  // A request has its context behind the client index.
  const context = answerContextOf(ping.slice(4)) ?? 0;
  const reply = catalog
    .codec('control_ping_reply')
    .encode(idOf('control_ping_reply'), { context }, {});
  session.receive(encodeFrame(reply));
  expect(events).toEqual(['ready']);
  return { session, sent, events };
}

test('20,000 frames to a session that is ready, half of them damaged messages of its own', () => {
  const seed = 20_261_130;
  const pick = createGenerator(seed);
  const valid = modules.flatMap((module) =>
    module.messages.flatMap((message) =>
      fc
        .sample(fieldsArbitrary(module, bodyOf(message)), { numRuns: 2, seed })
        .map((fields) =>
          catalog.codec(message.name).encode(idOf(message.name), { context: pick(4) }, fields),
        ),
    ),
  );
  let { session, events } = connect();
  const answered = { messages: 0, unreadable: 0, ended: 0 };
  const listen = (): void => {
    session.send(
      catalog.codec('show_version'),
      {},
      {
        onMessage: () => void (answered.messages += 1),
        onUnreadable: () => void (answered.unreadable += 1),
      },
    );
  };
  listen();
  for (let run = 0; run < 20_000; run += 1) {
    const message = valid[pick(valid.length)] ?? new Uint8Array(0);
    const isMutated = run % 2 === 0;
    const frame = isMutated
      ? encodeFrame(mutate(message, pick))
      : pick(20) === 0
        ? randomBytes(16 + pick(60), pick)
        : encodeFrame(message);
    try {
      session.receive(frame);
    } catch (error) {
      if (!(error instanceof NsmError)) {
        const hex = Buffer.from(frame).toString('hex');
        throw new Error(`seed ${seed}, run ${run}: ${hex}`, { cause: error });
      }
      answered.ended += 1;
      ({ session, events } = connect());
      listen();
    }
    if (events.length > 100) events.length = 0;
  }
  expect(answered.messages).toBeGreaterThan(100);
  expect(answered.ended).toBeGreaterThan(100);
  expect(answered.unreadable).toBeGreaterThan(10);
});

test('2,000 damaged or random beginnings of a connection', () => {
  const seed = 20_261_131;
  const pick = createGenerator(seed);
  let refused = 0;
  for (let run = 0; run < 2000; run += 1) {
    const session = new VppSession({
      stream: { send: () => {}, ready: () => {}, fail: () => {} },
      events: {
        definitions: () => catalog,
        onDefinitions: () => catalog,
        onReady: () => {},
        onEvent: () => {},
      },
      clientName: 'fuzz',
      frameBytesMax: 100_000,
      hop: 'the peer',
    });
    try {
      session.receive(run % 2 === 0 ? mutate(greeting, pick) : randomBytes(16 + pick(60), pick));
    } catch (error) {
      if (!(error instanceof NsmError)) {
        throw new Error(`seed ${seed}, run ${run}`, { cause: error });
      }
      refused += 1;
    }
  }
  expect(refused).toBeGreaterThan(500);
});
