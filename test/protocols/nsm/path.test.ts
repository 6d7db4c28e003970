// Protects the path rules that every hop of both implementations relies on: who steps where, which ids stay, and that
// nothing a newer peer put into a message is lost on the way.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { limits } from '../../../protocols/limits.ts';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  enterPath,
  isPassedBy,
  leavePath,
  nextSegment,
  ownSegment,
  previousSegment,
  replacedSegment,
  trimPath,
  validatePath,
  withKnownBehind,
  withSegment,
} from '../../../protocols/nsm/path.ts';
import { connectionOf, countingIds } from './samples.ts';

const neverNew = (): string => {
  throw new Error('no new id was expected');
};

function refusal(action: () => unknown): NsmError {
  try {
    action();
  } catch (thrown) {
    if (thrown instanceof NsmError) return thrown;
    throw thrown;
  }
  throw new Error('nothing was refused');
}

describe('enterPath', () => {
  it('starts a path under the given id, or a new one where there is none', () => {
    const named = enterPath(create(ConnectionSchema, { id: 'nsc-0' }), 'nsc', neverNew);
    expect(named.id).toBe('nsc-0');
    expect(named.path?.pathSegments.map(({ name, id }) => [name, id])).toEqual([['nsc', 'nsc-0']]);
    const unnamed = enterPath(undefined, 'nsc', () => 'made');
    expect([unnamed.id, unnamed.path?.index]).toEqual(['made', 0]);
  });

  it('begins at 0 where the path has an index but no segments', () => {
    const odd = create(ConnectionSchema, { id: 'x', path: { index: 7 } });
    expect(enterPath(odd, 'nsc', neverNew).path?.index).toBe(0);
  });

  it('stays on a segment of its own name, and takes its id', () => {
    const connection = { ...connectionOf(['nsc', 'nsmgr'], 1), id: 'stale' };
    const entered = enterPath(connection, 'nsmgr', neverNew);
    expect([entered.id, entered.path?.index]).toEqual(['id-1', 1]);
  });

  it('appends a segment under a new id', () => {
    const entered = enterPath(connectionOf(['nsc'], 0), 'nsmgr', () => 'made');
    expect([entered.id, entered.path?.index]).toEqual(['made', 1]);
    expect(ownSegment(entered)).toMatchObject({ name: 'nsmgr', id: 'made' });
    expect(previousSegment(entered)?.name).toBe('nsc');
  });

  it('finds its segment again on a refresh', () => {
    const entered = enterPath(connectionOf(['nsc', 'nsmgr', 'fwd'], 0), 'nsmgr', neverNew);
    expect([entered.id, entered.path?.index]).toEqual(['id-1', 1]);
    expect(nextSegment(entered)?.name).toBe('fwd');
  });

  it('takes over the segment of a replaced hop under a new id and keeps those behind', () => {
    const connection = connectionOf(['nsc', 'nsmgr', 'fwd-1', 'nse'], 1);
    const entered = enterPath(connection, 'fwd-2', () => 'made');
    expect(entered.path?.pathSegments.map(({ name, id }) => `${name}/${id}`)).toEqual([
      'nsc/id-0',
      'nsmgr/id-1',
      'fwd-2/made',
      'nse/id-3',
    ]);
  });

  it.each([
    [
      'index behind the segments',
      { ...connectionOf(['nsc'], 0), path: connectionOf(['a'], 1).path },
    ],
    ['id of another segment', { ...connectionOf(['nsc', 'nsmgr'], 0), id: 'id-1' }],
  ])('refuses %s and says what it found and expected', (_, connection) => {
    const { code, details } = refusal(() => enterPath(connection, 'nsmgr', neverNew));
    expect(code).toBe('INVALID_ARGUMENT');
    expect(details.rule).toMatch(/^path\./);
    expect(details.expected).toBeTruthy();
    expect(details.found).toBeTruthy();
  });

  it('refuses an own segment without id, and a path without end', () => {
    const blank = withSegment(connectionOf(['nsc', 'nsmgr'], 0), 1, { id: '' });
    expect(refusal(() => enterPath(blank, 'nsmgr', neverNew)).details.rule).toContain('[1].id');
    const names = Array.from({ length: limits.pathSegments }, (_, at) => `hop-${at}`);
    const full = connectionOf(names, names.length - 1);
    expect(refusal(() => enterPath(full, 'one-more', neverNew)).details.remedy).toContain('loop');
    const over = connectionOf([...names, 'over'], 0);
    expect(refusal(() => validatePath(over)).code).toBe('INVALID_ARGUMENT');
  });

  it('refuses names, ids and tokens beyond the limits', () => {
    for (const change of [
      { name: 'n'.repeat(limits.nameLength + 1) },
      { id: 'i'.repeat(limits.idLength + 1) },
      { token: 't'.repeat(limits.tokenLength + 1) },
    ]) {
      const long = withSegment(connectionOf(['nsc', 'x'], 0), 1, change);
      expect(refusal(() => validatePath(long)).details.rule).toContain('path_segments[1]');
    }
  });
});

describe('who takes the place of another', () => {
  const sent = (index: number, second = 'a', id = 'id-1') =>
    create(ConnectionSchema, {
      id: index === 0 ? 'id-0' : id,
      path: {
        index,
        pathSegments: [
          { name: 'mgr', id: 'id-0' },
          { name: second, id },
          { name: 'nse', id: 'id-2' },
        ],
      },
    });

  it('finds whom it replaces in what it is sent; who was there before, or is the first, replaces nobody', () => {
    expect(replacedSegment(sent(0), 'b')).toMatchObject({ name: 'a', id: 'id-1' });
    expect(replacedSegment(sent(0), 'a')).toBeUndefined();
    expect(replacedSegment(sent(0), 'mgr')).toBeUndefined();
    expect(replacedSegment(undefined, 'b')).toBeUndefined();
    expect(replacedSegment(sent(2), 'c')).toBeUndefined();
  });

  it('is told from who was there before by the hop behind, which keeps its own id', () => {
    const stored = enterPath(sent(1, 'b', 'made'), 'nse', neverNew);
    const late = enterPath(sent(1), 'nse', neverNew);
    expect(late.id).toBe(stored.id);
    expect(isPassedBy(stored, late)).toBe(true);
    expect(isPassedBy(stored, stored)).toBe(false);
    expect(isPassedBy(sent(0), sent(0))).toBe(false);
  });
});

describe('a round trip over the path', () => {
  const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 8 }), {
    minLength: 1,
    maxLength: 8,
  });

  it('gives every caller its own view back, keeps all segments, and is stable across refreshes', () => {
    fc.assert(
      fc.property(names, (hops) => {
        const newId = countingIds();
        const pass = (incoming: ReturnType<typeof connectionOf> | undefined) => {
          const views = [enterPath(incoming, hops[0] ?? '', newId)];
          for (const hop of hops.slice(1)) views.push(enterPath(views.at(-1), hop, newId));
          let answer = trimPath(views.at(-1) ?? create(ConnectionSchema));
          for (const view of views.slice(0, -1).reverse()) {
            answer = leavePath(answer, view);
            expect(answer.id).toBe(view.id);
            expect(answer.path?.index).toBe(view.path?.index);
          }
          return answer;
        };
        const first = pass(undefined);
        expect(first.path?.pathSegments.map(({ name }) => name)).toEqual(hops);
        expect(pass(first)).toEqual(first);
      }),
    );
  });

  it('never changes a message that it was given', () => {
    const connection = connectionOf(['nsc', 'nsmgr', 'old', 'nse'], 1);
    const before = toBinary(ConnectionSchema, connection);
    const entered = enterPath(connection, 'new', () => 'made');
    withSegment(entered, 0, { token: 'other' });
    trimPath(leavePath(entered, connection));
    expect(toBinary(ConnectionSchema, connection)).toEqual(before);
  });

  it('cuts behind the own segment only', () => {
    expect(trimPath(connectionOf(['a', 'b', 'c'], 1)).path?.pathSegments).toHaveLength(2);
    const whole = connectionOf(['a', 'b'], 1);
    expect(trimPath(whole)).toBe(whole);
  });

  it('puts behind the own segment what this hop knows, and leaves a caller that knows it alone', () => {
    const known = connectionOf(['a', 'b', 'c', 'd'], 1);
    const other = withSegment(known, 2, { name: 'left', id: 'gone' });
    const asked = [other, trimPath(known), connectionOf(['a', 'b', 'c', 'd', 'e'], 1)];
    for (const each of asked) {
      const mended = withKnownBehind(withSegment(each, 0, { token: 'new' }), known);
      expect(mended.path?.pathSegments.map(({ id }) => id)).toEqual([
        'id-0',
        'id-1',
        'id-2',
        'id-3',
      ]);
      expect(mended.path?.pathSegments[0]?.token).toBe('new');
    }
    const fresh = withSegment(known, 3, { token: 'new' });
    expect(withKnownBehind(fresh, known)).toBe(fresh);
    expect(withKnownBehind(other, undefined)).toBe(other);
  });

  it('refuses an answer that has lost its caller', () => {
    const caller = connectionOf(['nsc', 'nsmgr'], 1);
    const cut = trimPath({ ...connectionOf(['nsc'], 0) });
    expect(refusal(() => leavePath(cut, caller)).details.expected).toContain('nsmgr');
  });
});

describe('what a newer peer sends', () => {
  /** Field 200, length-delimited, with the bytes 1 2 3. */
  const unknown = [0xc2, 0x0c, 3, 1, 2, 3];

  /** A connection with an unknown field in each message of the path, and odd nanoseconds. */
  function fromNewerPeer(): Uint8Array {
    const nested = (field: number, bytes: Iterable<number>): number[] => {
      const all = [...bytes];
      return [field, all.length, ...all];
    };
    const timestamp = nested(0x22, [0x08, 0xd2, 0x09, 0x10, 0xb9, 0x60, ...unknown]);
    const segment = (name: number, id: string): number[] =>
      nested(0x12, [
        ...nested(0x0a, [name]),
        ...nested(0x12, new TextEncoder().encode(id)),
        ...timestamp,
        ...unknown,
      ]);
    const path = nested(0x32, [...segment(0x61, 'id-0'), ...segment(0x62, 'id-1'), ...unknown]);
    const id = nested(0x0a, new TextEncoder().encode('id-0'));
    return Uint8Array.from([...id, ...path, ...unknown]);
  }

  it('survives entering, token writing, leaving and encoding at every hop', () => {
    let bytes = fromNewerPeer();
    for (let hop = 0; hop < 3; hop += 1) {
      const received = fromBinary(ConnectionSchema, bytes);
      const entered = enterPath(received, 'b', neverNew);
      const signed = withSegment(entered, 1, { token: `token of hop ${hop}` });
      const answered = fromBinary(ConnectionSchema, toBinary(ConnectionSchema, signed));
      bytes = toBinary(ConnectionSchema, leavePath(answered, received));
    }
    const last = fromBinary(ConnectionSchema, bytes);
    expect(last.id).toBe('id-0');
    expect(last.path?.pathSegments[1]?.token).toBe('token of hop 2');
    for (const segment of last.path?.pathSegments ?? []) {
      expect(segment.expires).toMatchObject({ seconds: 1234n, nanos: 12_345 });
      expect(segment.$unknown).toHaveLength(1);
      expect(segment.expires?.$unknown).toHaveLength(1);
    }
    expect(last.path?.$unknown).toHaveLength(1);
    expect(last.$unknown?.[0]).toMatchObject({ no: 200 });
  });

  it('survives a segment being taken over by another hop', () => {
    const taken = enterPath(fromBinary(ConnectionSchema, fromNewerPeer()), 'c', () => 'made');
    const again = fromBinary(ConnectionSchema, toBinary(ConnectionSchema, taken));
    expect(ownSegment(again)).toMatchObject({ name: 'c', id: 'made' });
    expect(ownSegment(again).$unknown).toHaveLength(1);
  });
});
