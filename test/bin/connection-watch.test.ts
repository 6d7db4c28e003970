// Protects what a watch says of connections: what was there, what is new, what has changed, what was only refreshed, and what
// is closed, each once and with its age.

import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { ConnectionWatch } from '../../bin/inspect/connection-watch.ts';
import { timestampFromEpochMs } from '../../protocols/nsm/expiry.ts';
import {
  type Connection,
  type ConnectionEvent,
  ConnectionEventSchema,
  ConnectionEventType,
  ConnectionSchema,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { ConnectionDetailSchema } from '../../protocols/nsm/gen/vwire_inspect_pb.ts';

const connection = (id: string, expiresMs: number, more: Partial<Connection> = {}): Connection => ({
  ...create(ConnectionSchema, {
    id: `manager ${id}`,
    state: State.UP,
    networkServiceEndpointName: 'e1',
    path: {
      index: 1,
      pathSegments: [
        { id, name: 'nsc', token: `${expiresMs}`, expires: timestampFromEpochMs(expiresMs) },
        { id: `manager ${id}`, name: 'nsmgr' },
      ],
    },
  }),
  ...more,
});

function event(type: ConnectionEventType, ...connections: readonly Connection[]): ConnectionEvent {
  const made = create(ConnectionEventSchema, { type });
  for (const each of connections) made.connections[each.id] = each;
  return made;
}

const { INITIAL_STATE_TRANSFER, UPDATE, DELETE } = ConnectionEventType;

it('tells what has become of each connection', () => {
  const watch = new ConnectionWatch();
  const details = new Map([
    ['manager a', create(ConnectionDetailSchema, { id: 'manager a', ageMs: 5_000n })],
  ]);
  const apply = (told: ConnectionEvent, nowMs: number) =>
    watch
      .apply(told, nowMs, details)
      .map(({ event: kind, connection: { id, ageMs } }) => [kind, id, ageMs]);
  const initial = event(INITIAL_STATE_TRANSFER, connection('a', 60_000), connection('b', 60_000));
  expect(apply(initial, 10_000)).toEqual([
    ['PRESENT', 'a', 5_000],
    ['PRESENT', 'b', null],
  ]);
  expect(apply(event(UPDATE, connection('c', 70_000)), 11_000)).toEqual([['NEW', 'c', 0]]);
  expect(apply(event(UPDATE, connection('c', 80_000)), 12_000)).toEqual([
    ['REFRESHED', 'c', 1_000],
  ]);
  const down = connection('a', 80_000, { state: State.DOWN });
  expect(apply(event(UPDATE, down), 13_000)).toEqual([['CHANGED', 'a', 8_000]]);
  const moved = connection('a', 80_000, { networkServiceEndpointName: 'e2' });
  expect(apply(event(UPDATE, moved), 14_000)).toEqual([['CHANGED', 'a', 9_000]]);
  expect(apply(event(DELETE, connection('c', 80_000)), 15_000)).toEqual([['CLOSED', 'c', 4_000]]);
  expect(watch.rows(16_000).map(({ id, ageMs }) => [id, ageMs])).toEqual([
    ['a', 11_000],
    ['b', null],
  ]);
});
