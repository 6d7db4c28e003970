// Protects that what a hop has made is taken away for certain: a wire that cannot be removed, and a journal that
// refuses, are tried again until they give in, while the next hop's share may be left to its own expiry.

import { create } from '@bufbuild/protobuf';
import { afterEach, describe, expect, it } from 'vitest';
import type { Hop } from '../../../actors/connection/hop.ts';
import { NsmError } from '../../../protocols/errors.ts';
import {
  type Connection,
  PathSchema,
  PathSegmentSchema,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import { previousSegment } from '../../../protocols/nsm/path.ts';
import { again, asked, closesAfterMs, type HopFixture, hopFixture } from './fixture.ts';

let fixture: HopFixture;

afterEach(() => fixture.end());

const full = () => new NsmError('RESOURCE_EXHAUSTED', 'the disk is full');
const stuck = (code: 'UNAVAILABLE' | 'INTERNAL') =>
  new NsmError(code, 'the wire is stuck', { rule: 'local-part' });
const left = () => fixture.table.size + fixture.directory.size;

/** Every operation of that kind from the given one on is refused, as many as said. */
function refuse(operation: 'put' | 'delete', from: number, count: number): void {
  const { journal } = fixture;
  const works = journal[operation].bind(journal) as (...given: unknown[]) => Promise<void>;
  let calls = 0;
  Object.assign(journal, {
    [operation]: async (...given: unknown[]) => {
      calls += 1;
      if (calls >= from && calls < from + count) throw full();
      await works(...given);
    },
  });
}

const recording: Hop['request'] = async (request) => {
  const memory = { nextUrl: 'memory:next' };
  await request.recordIntent(memory);
  return { connection: request.connection, memory };
};

describe('a wire that cannot be removed', () => {
  it.each(['UNAVAILABLE', 'INTERNAL'] as const)(
    'at its expiry (%s) is tried again until it is gone',
    async (code) => {
      let failures = 3;
      const close = async (): Promise<void> => {
        failures -= 1;
        if (failures >= 0) throw stuck(code);
      };
      fixture = await hopFixture({ close });
      await fixture.request(asked(fixture.clock, 'c-0'));
      await fixture.clock.advance(closesAfterMs);
      expect(left()).toBe(2);
      await fixture.clock.advance(5_000);
      expect(fixture.steps).toEqual(['request', 'close', 'close', 'close', 'close']);
      expect(left()).toBe(0);
    },
  );

  it('keeps no client waiting', async () => {
    let isStuck = true;
    fixture = await hopFixture({
      async close() {
        if (isStuck) throw stuck('INTERNAL');
      },
    });
    await fixture.close(await fixture.request(asked(fixture.clock, 'c-0')));
    expect(left()).toBe(2);
    isStuck = false;
    await fixture.clock.advance(1_000);
    expect(left()).toBe(0);
  });
});

describe('a Close whose caller does not wait for its end', () => {
  it('is told to the next hop again, which may not have heard of it', async () => {
    const caller = new AbortController();
    let heard = 0;
    fixture = await hopFixture({
      request: recording,
      async close(_, __, call) {
        caller.abort();
        if (call.signal.aborted) throw new NsmError('CANCELLED', 'the caller gave up');
        heard += 1;
      },
    });
    const answer = await fixture.request(asked(fixture.clock, 'c-0'));
    const { signal } = caller;
    await fixture.run(
      fixture.directory.close(answer.path?.pathSegments[1]?.id ?? '', {
        deadlineMs: fixture.clock.nowMs() + 15_000,
        signal,
        headers: {},
      }),
    );
    expect([heard, left()]).toEqual([0, 2]);
    await fixture.clock.advance(1_000);
    expect([heard, left()]).toEqual([1, 0]);
  });
});

describe('a Close by the segment before this hop', () => {
  const at = (answer: Connection, index: number, segments: number): Connection => {
    const pathSegments = answer.path?.pathSegments.slice(0, segments) ?? [];
    const id = pathSegments[index]?.id ?? '';
    return { ...answer, id, path: create(PathSchema, { index, pathSegments }) };
  };
  /** What a hop asks for that is no client. */
  const fromHop = (hop: string): Connection => {
    const { path, ...first } = asked(fixture.clock, 'c-0');
    const client = path?.pathSegments[0] ?? create(PathSegmentSchema);
    const own = { ...client, name: hop, id: `${hop}-id` };
    const pathSegments = [client, own];
    return { ...first, id: own.id, path: create(PathSchema, { index: 1, pathSegments }) };
  };

  it('ends what is behind it, whose id the caller never heard, and nothing else', async () => {
    fixture = await hopFixture({ request: recording });
    await fixture.request(fromHop('forwarder'));
    await fixture.request(fromHop('other'));
    await fixture.close(fromHop('stranger'));
    expect(left()).toBe(4);
    await fixture.close(fromHop('forwarder'));
    await fixture.clock.advance(0);
    expect([...fixture.table.all()].map((each) => previousSegment(each.connection)?.name)).toEqual([
      'other',
    ]);
  });

  it('waits for a Request that is still under way', async () => {
    let finish: () => void = () => {};
    fixture = await hopFixture({
      async request(request) {
        await new Promise<void>((resolve) => (finish = resolve));
        return { connection: request.connection, memory: {} };
      },
    });
    const asking = fixture.request(fromHop('forwarder'));
    await fixture.clock.advance(0);
    const closing = fixture.close(fromHop('forwarder'));
    await fixture.clock.advance(0);
    finish();
    await Promise.all([asking, closing]);
    await fixture.clock.advance(0);
    expect(fixture.steps).toEqual(['request', 'close']);
    expect(left()).toBe(0);
  });

  it('ends nothing where the caller is a client, whose id others may have as well', async () => {
    fixture = await hopFixture({ request: recording });
    const answer = await fixture.request(asked(fixture.clock, 'c-0'));
    await fixture.close(at(answer, 0, 1));
    await fixture.clock.advance(0);
    expect(left()).toBe(2);
    await fixture.close(answer);
  });
});

describe('a journal that refuses', () => {
  it('what was built has it closed again', async () => {
    fixture = await hopFixture({ request: recording });
    refuse('put', 2, 1);
    const asking = fixture.request(asked(fixture.clock, 'c-0'));
    await expect(asking).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    await fixture.clock.advance(0);
    expect(fixture.steps).toEqual(['request', 'close']);
    expect(left()).toBe(0);
  });

  it('what was built has it closed also where the first attempt fails', async () => {
    let failures = 1;
    const close = async (): Promise<void> => {
      failures -= 1;
      if (failures >= 0) throw stuck('UNAVAILABLE');
    };
    fixture = await hopFixture({ request: recording, close });
    refuse('put', 2, 2);
    const asking = fixture.request(asked(fixture.clock, 'c-0'));
    await expect(asking).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    await fixture.clock.advance(1_000);
    expect(fixture.steps).toEqual(['request', 'close', 'close']);
    expect(left()).toBe(0);
  });

  it('a deletion is asked again until the record is gone', async () => {
    fixture = await hopFixture({ request: recording });
    const answer = await fixture.request(asked(fixture.clock, 'c-0'));
    refuse('delete', 1, 2);
    await fixture.close(answer);
    expect(left()).toBe(2);
    await fixture.clock.advance(2_000);
    expect(left()).toBe(0);
    expect((await fixture.journal.load()).size).toBe(0);
  });

  it('a refresh ends no wire: it lives on for as long as it is refreshed', async () => {
    fixture = await hopFixture({ request: recording });
    const answer = await fixture.request(asked(fixture.clock, 'c-0'));
    refuse('put', 1, Infinity);
    for (let refresh = 0; refresh < 3; refresh += 1) {
      await fixture.clock.advance(400_000);
      await fixture.request(again(fixture.clock, answer));
    }
    expect(fixture.steps).toEqual(['request', 'refresh', 'refresh', 'refresh']);
    const other = fixture.request(asked(fixture.clock, 'c-1'));
    await expect(other).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    await fixture.close(answer);
    await fixture.clock.advance(30_000);
    expect(left()).toBe(0);
  });
});
