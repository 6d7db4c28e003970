// Protects references to other nodes against what a bus does: losing, repeating, being away, and lying peers.

import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ActorCodec, ActorRef, ReplyTo } from '../../../actors/runtime/api.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { type ActorEnvelope, anyIncarnation } from '../../../protocols/ports/actor-link.ts';
import { type Fixture, fixture, seededRandom } from './fixture.ts';
import { MemoryBus } from './memory-link.ts';
import { turns } from './turns.ts';

type Message = { readonly text: string; readonly replyTo?: ReplyTo<string> | undefined };

const codec: ActorCodec<Message, string> = {
  encode: ({ text }) => {
    if (text === 'unencodable') throw new NsmError('INVALID_ARGUMENT', 'cannot be encoded');
    return new TextEncoder().encode(text);
  },
  decode: (bytes, replyTo) => {
    const text = new TextDecoder().decode(bytes);
    if (text === 'undecodable') throw new NsmError('INVALID_ARGUMENT', 'cannot be decoded');
    return { text, replyTo };
  },
  encodeReply: (reply) => new TextEncoder().encode(reply),
  decodeReply: (bytes) => new TextDecoder().decode(bytes),
};

let bus: MemoryBus;
let near: Fixture;
let far: Fixture;
let probe: ActorRef<Message>;
let seen: ActorRef<Message>;
let got: string[];
let events: string[];
let watcher: ActorRef<'watch' | 'unwatch' | { readonly ended: string }>;

beforeEach(() => {
  bus = new MemoryBus();
  near = fixture({ name: 'near/nsmgr', link: bus.link(), unreachableAfterMs: 1_000 });
  far = fixture({ name: 'far/nsmgr', link: bus.link(), random: seededRandom(99) });
  got = [];
  events = [];
  probe = far.system.spawn<null, Message>(
    {
      initial: () => null,
      receive: (state, { text, replyTo }, context) => {
        got.push(text);
        if (text === 'stop') context.stop();
        if (text !== 'keep') replyTo?.tell(`${text}!`);
        return state;
      },
    },
    'probe',
  );
  far.system.exportActor(probe, codec);
  seen = near.system.refOf(probe.address, codec);
  watcher = near.system.spawn<null, 'watch' | 'unwatch' | { readonly ended: string }>(
    {
      initial: () => null,
      receive: (state, message, context) => {
        if (message === 'watch') context.watch(seen, (event) => ({ ended: event.reason }));
        else if (message === 'unwatch') context.unwatch(seen);
        else events.push(message.ended);
        return state;
      },
    },
    'watcher',
  );
});

afterEach(async () => {
  await near.end();
  await far.end();
});

const ask = (text: string, timeoutMs = 1_000): Promise<string> =>
  near.system.ask(seen, (replyTo: ReplyTo<string>) => ({ text, replyTo }), { timeoutMs });

const kinds = (): string[] => bus.sent.map((envelope) => envelope.kind);

it('carries a tell and an ask, and reports to the sender what cannot be encoded or decoded', async () => {
  seen.tell({ text: 'one' });
  expect(await ask('two')).toBe('two!');
  expect(got).toEqual(['one', 'two']);
  await expect(ask('unencodable')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await expect(ask('undecodable')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  seen.tell({ text: 'unencodable' });
  seen.tell({ text: 'undecodable' });
  expect(near.letters.map((letter) => letter.reason)).toEqual(['unreachable']);
  expect(far.letters.map((letter) => letter.reason)).toEqual(['undecodable']);
});

it('cancels at the other end when the asker gives up', async () => {
  const asked = expect(ask('keep', 100)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  await near.clock.advance(100);
  await asked;
  expect(kinds()).toEqual(['ask', 'cancel', 'failure']);
});

it('takes an answer only from the node that it asked, and only once', async () => {
  const asked = ask('keep');
  await turns();
  const { id } = bus.sent[0] as Extract<ActorEnvelope, { kind: 'ask' }>;
  const body = codec.encodeReply('forged');
  bus.carry({ kind: 'reply', to: 'near/nsmgr', from: 'liar/nsmgr', id, body });
  bus.carry({ kind: 'reply', to: 'near/nsmgr', from: 'far/nsmgr', id: `${id}1`, body });
  const right = codec.encodeReply('right');
  bus.carry({ kind: 'reply', to: 'near/nsmgr', from: 'far/nsmgr', id, body: right });
  bus.carry({ kind: 'reply', to: 'near/nsmgr', from: 'far/nsmgr', id, body });
  expect(await asked).toBe('right');
});

it('handles an ask once that the bus delivers twice while it is open', async () => {
  const asked = ask('keep', 100);
  await turns();
  bus.carry(bus.sent[0] as ActorEnvelope);
  await turns();
  expect(got).toEqual(['keep']);
  const gaveUp = expect(asked).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  await near.clock.advance(100);
  await gaveUp;
});

it('reaches whichever life there is through a reference without incarnation', async () => {
  const any = near.system.refOf({ ...probe.address, incarnation: anyIncarnation }, codec);
  const local = far.system.refOf({ ...probe.address, incarnation: anyIncarnation }, codec);
  any.tell({ text: 'from afar' });
  local.tell({ text: 'from here' });
  await turns();
  expect(got).toEqual(['from afar', 'from here']);
  any.tell({ text: 'stop' });
  await turns();
  local.tell({ text: 'nobody' });
  expect(far.letters.map((letter) => letter.reason)).toEqual(['noSuchActor']);
});

it('sends a lost watch again, and a lost end too', async () => {
  bus.loses = (envelope) => envelope.kind === 'watch';
  watcher.tell('watch');
  await turns();
  bus.loses = (envelope) => envelope.kind === 'terminated';
  await near.clock.advance(300);
  probe.tell({ text: 'stop' });
  await turns();
  expect(events).toEqual([]);
  bus.loses = () => false;
  await near.clock.advance(300);
  expect(events).toEqual(['stopped']);
});

it('calls a silent node unreachable, but never while its own bus is away', async () => {
  watcher.tell('watch');
  await turns();
  bus.loses = () => true;
  bus.setConnected('near/nsmgr', false);
  await near.clock.advance(60_000);
  expect(events).toEqual([]);
  bus.setConnected('near/nsmgr', true);
  await near.clock.advance(900);
  expect(events).toEqual([]);
  await near.clock.advance(600);
  expect(events).toEqual(['unreachable']);
  expect(near.clock.armedCount).toBe(0);
});

it('stops pinging when nothing is watched, and the other side forgets', async () => {
  watcher.tell('watch');
  await near.clock.advance(1_000);
  watcher.tell('unwatch');
  await turns();
  expect(near.clock.armedCount).toBe(0);
  expect(far.clock.armedCount).toBe(0);
  expect(kinds().filter((kind) => kind === 'pong').length).toBe(4);
});

it('forgets the watches of a node that went quiet', async () => {
  watcher.tell('watch');
  await turns();
  expect(far.clock.armedCount).toBe(1);
  await far.clock.advance(20_000);
  expect(far.clock.armedCount).toBe(0);
  probe.tell({ text: 'stop' });
  await turns();
  expect(kinds()).not.toContain('terminated');
});
