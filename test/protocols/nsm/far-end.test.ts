// Protects what is said of a wire's far end: it survives the way through every hop, and is about that end alone.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  farEndOf,
  isFarEndGone,
  withNoMark,
  withoutFarEnd,
} from '../../../protocols/nsm/far-end.ts';
import { ConnectionSchema, State } from '../../../protocols/nsm/gen/connection_pb.ts';

const connection = create(ConnectionSchema, {
  id: 'b',
  state: State.UP,
  path: {
    index: 1,
    pathSegments: ['a', 'b', 'c'].map((id) => ({ id, name: id, metrics: { rx: '1' } })),
  },
});
const gone = withoutFarEnd(connection, 'c') ?? connection;

test('the mark goes over the wire and leaves the rest as it is', () => {
  const heard = fromBinary(ConnectionSchema, toBinary(ConnectionSchema, gone));
  expect([connection, heard].map(isFarEndGone)).toEqual([false, true]);
  expect(heard.state).toBe(State.DOWN);
  expect(heard.path?.pathSegments.map(({ metrics }) => metrics['rx'])).toEqual(['1', '1', '1']);
});

test('it says nothing of a wire that is up, nor of one that ends elsewhere', () => {
  const [first, second, third] = gone.path?.pathSegments ?? [];
  if (first === undefined || second === undefined || third === undefined) throw new Error('path');
  const pathSegments = [first, second, { ...third, id: 'd' }];
  const elsewhere = { ...gone, path: { ...connection.path, pathSegments } } as typeof gone;
  expect([{ ...gone, state: State.UP }, elsewhere].map(isFarEndGone)).toEqual([false, false]);
});

test('it is made once, and of the end that the path leads to', () => {
  expect(farEndOf(connection)).toBe('c');
  expect(withoutFarEnd(gone, 'c')).toBeUndefined();
  expect(withoutFarEnd(connection, 'left')).toBeUndefined();
});

test('the hop that made it takes it back', () => {
  expect(withNoMark(gone).path).toEqual(connection.path);
  expect(withNoMark(connection)).toBe(connection);
});
