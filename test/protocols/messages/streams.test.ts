// Protects the parts that streams are made of: a receiver notices every loss and holds no more than its window, a
// queue hands out everything once and in order, a pump stops when told and never runs ahead of the room it has.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { FrameReceiver } from '../../../protocols/messages/frame-receiver.ts';
import { MessageQueue } from '../../../protocols/messages/message-queue.ts';
import { Room, startPump } from '../../../protocols/messages/pump.ts';
import { settle } from '../../sandbox/manual-clock.ts';

describe('frame receiver', () => {
  it('delivers exactly the messages sent, or ends with a gap, under loss, repetition and reordering', async () => {
    const fault = fc.constantFrom('none', 'none', 'none', 'drop', 'repeat', 'swap');
    await fc.assert(
      fc.asyncProperty(fc.array(fault, { maxLength: 40 }), async (faults) => {
        const sent = faults.map((_, at) => at + 1);
        const arrived: number[] = [];
        for (const [at, kind] of faults.entries()) {
          if (kind === 'drop') continue;
          if (kind === 'swap' && arrived.length > 0) arrived.splice(-1, 0, at + 1);
          else arrived.push(at + 1);
          if (kind === 'repeat') arrived.push(at + 1);
        }
        const receiver = new FrameReceiver<number>({ window: 64, sendCredit: () => {} });
        let gap: NsmError | undefined;
        try {
          for (const count of arrived) if (receiver.admit(count)) receiver.queue.push(count);
          receiver.checkCount(sent.length);
        } catch (error) {
          gap = error as NsmError;
        }
        receiver.queue.end();
        const taken: number[] = [];
        for await (const item of receiver.queue) taken.push(item);
        expect(taken).toEqual(sent.slice(0, taken.length));
        if (gap === undefined) expect(taken).toEqual(sent);
        else expect(gap).toMatchObject({ code: 'UNAVAILABLE', details: { rule: 'stream-gap' } });
      }),
      { numRuns: 2000 },
    );
  });

  it('refuses a sender that exceeds its credit, and grants more as messages are taken', async () => {
    const credits: number[] = [];
    const receiver = new FrameReceiver<number>({
      window: 4,
      sendCredit: (total) => credits.push(total),
    });
    for (let count = 1; count <= 4; count += 1) {
      if (receiver.admit(count)) receiver.queue.push(count);
    }
    expect(() => receiver.admit(5)).toThrow(/more than it was granted/);
    await receiver.queue.next();
    expect(credits).toEqual([]);
    await receiver.queue.next();
    expect(credits).toEqual([6]);
    expect(receiver.admit(5)).toBe(true);
  });
});

describe('message queue', () => {
  it('hands out what came before the end, then the error once', async () => {
    const queue = new MessageQueue<number>();
    const waiting = queue.next();
    queue.push(1);
    queue.push(2);
    queue.end(new NsmError('UNAVAILABLE', 'gone'));
    queue.push(3);
    expect(await waiting).toEqual({ value: 1, done: false });
    expect(await queue.next()).toEqual({ value: 2, done: false });
    await expect(queue.next()).rejects.toThrow('gone');
    expect(await queue.next()).toEqual({ value: undefined, done: true });
  });

  it('drops what was not taken when aborted, and wakes whoever waits', async () => {
    const queue = new MessageQueue<number>();
    queue.push(1);
    queue.abort(new NsmError('CANCELLED', 'enough'));
    await expect(queue.next()).rejects.toThrow('enough');
    const other = new MessageQueue<number>();
    const waiting = [other.next(), other.next()];
    other.end();
    expect(await Promise.all(waiting)).toEqual([
      { value: undefined, done: true },
      { value: undefined, done: true },
    ]);
  });

  it('keeps order through any mix of pushing and taking', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 3000 }), async (steps) => {
        const queue = new MessageQueue<number>();
        const taken: Promise<IteratorResult<number>>[] = [];
        let pushed = 0;
        for (const isPush of steps) {
          if (isPush) queue.push((pushed += 1));
          else taken.push(queue.next());
        }
        queue.end();
        const values = (await Promise.all(taken)).flatMap((result) =>
          result.done ? [] : [result.value],
        );
        for await (const value of queue) values.push(value);
        expect(values).toEqual(Array.from({ length: pushed }, (_, at) => at + 1));
      }),
      { numRuns: 200 },
    );
  });
});

describe('pump', () => {
  it('holds one message beyond its room, and returns its source when stopped', async () => {
    const log: string[] = [];
    async function* source(): AsyncGenerator<number> {
      try {
        for (let number = 1; ; number += 1) {
          log.push(`made ${number}`);
          yield number;
        }
      } finally {
        log.push('left');
      }
    }
    const room = new Room(2);
    const written: number[] = [];
    const pump = startPump(source, {
      room: () => room.wait(),
      write: (item) => {
        room.take();
        written.push(item);
      },
      end: () => log.push('ended'),
    });
    await settle();
    expect(written).toEqual([1, 2]);
    expect(log).toEqual(['made 1', 'made 2', 'made 3']);
    room.grant(3);
    await settle();
    expect(written).toEqual([1, 2, 3]);
    pump.stop();
    await settle();
    expect(log.at(-1)).toBe('left');
    room.grant(100);
    await settle();
    expect(written).toEqual([1, 2, 3]);
  });

  it('ends with the error of its source, or of a write', async () => {
    const ends: string[] = [];
    const sink = {
      room: () => undefined,
      end: (error?: NsmError) => void ends.push(error?.message ?? 'ok'),
    };
    const one = async function* (): AsyncGenerator<number> {
      yield 1;
    };
    startPump(one, { ...sink, write: () => {} });
    startPump(one, {
      ...sink,
      write: () => {
        throw new NsmError('RESOURCE_EXHAUSTED', 'too large');
      },
    });
    startPump(
      () => {
        throw new NsmError('INTERNAL', 'no source');
      },
      { ...sink, write: () => {} },
    );
    await settle();
    expect(ends.toSorted()).toEqual(['no source', 'ok', 'too large']);
  });
});
