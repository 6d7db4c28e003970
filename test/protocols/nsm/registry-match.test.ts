// Protects Find and MonitorConnections: which entry answers which query, which subscriber sees which connection, and
// what an event of the next hop changes in one's own view.

import { create } from '@bufbuild/protobuf';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { MonitorScopeSelectorSchema, State } from '../../../protocols/nsm/gen/connection_pb.ts';
import { ConnectionContextSchema } from '../../../protocols/nsm/gen/connectioncontext_pb.ts';
import {
  NetworkServiceEndpointSchema,
  NetworkServiceSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import { matchesSelector, viewOfNextHopEvent } from '../../../protocols/nsm/monitor-selector.ts';
import { withSegment } from '../../../protocols/nsm/path.ts';
import {
  endpointMatchesQuery,
  serviceMatchesQuery,
} from '../../../protocols/nsm/registry-match.ts';
import { connectionOf } from './samples.ts';

describe('a query for services', () => {
  const stored = create(NetworkServiceSchema, {
    name: 'svc',
    payload: 'IP',
    matches: [{ sourceSelector: { a: 'b' }, routes: [{ weight: 1 }] }],
  });
  it.each([
    [{}, true],
    [{ name: 'svc' }, true],
    [{ name: 'sv' }, false],
    [{ payload: 'IP' }, true],
    [{ payload: 'ETHERNET' }, false],
    [{ matches: [{ sourceSelector: { a: 'b' }, routes: [{ weight: 1 }] }] }, true],
    [{ matches: [{ sourceSelector: { a: 'b' }, routes: [{}] }] }, false],
    [{ matches: [{}, {}] }, false],
  ])('%j finds it: %s', (query, found) => {
    expect(serviceMatchesQuery(create(NetworkServiceSchema, query), stored)).toBe(found);
  });
});

describe('a query for endpoints', () => {
  const stored = create(NetworkServiceEndpointSchema, {
    name: 'nse-1',
    networkServiceNames: ['a', 'b'],
    networkServiceLabels: { a: { labels: { x: '1', y: '2' } }, b: {} },
    url: 'tcp://10.0.0.1:5001',
    expirationTime: create(TimestampSchema, { seconds: 7n, nanos: 5 }),
  });
  it.each([
    [{}, true],
    [{ name: 'nse-1' }, true],
    [{ name: 'nse' }, false],
    [{ url: '10.0.0.1' }, true],
    [{ url: '10.0.0.2' }, false],
    [{ networkServiceNames: ['b'] }, true],
    [{ networkServiceNames: ['b', 'a'] }, true],
    [{ networkServiceNames: ['a', 'c'] }, false],
    [{ networkServiceLabels: { a: { labels: { x: '1' } } } }, true],
    [{ networkServiceLabels: { a: { labels: { x: '2' } } } }, false],
    [{ networkServiceLabels: { b: {} } }, true],
    [{ networkServiceLabels: { c: {} } }, false],
    [{ networkServiceLabels: { toString: {} } }, false],
    [{ networkServiceLabels: { a: { labels: { toString: '' } } } }, false],
  ])('%j finds it: %s', (query, found) => {
    expect(endpointMatchesQuery(create(NetworkServiceEndpointSchema, query), stored)).toBe(found);
  });

  it('compares expiration in whole seconds', () => {
    const at = (seconds: bigint) =>
      create(NetworkServiceEndpointSchema, { expirationTime: { seconds, nanos: 999 } });
    expect(endpointMatchesQuery(at(7n), stored)).toBe(true);
    expect(endpointMatchesQuery(at(8n), stored)).toBe(false);
    expect(endpointMatchesQuery(at(7n), create(NetworkServiceEndpointSchema))).toBe(false);
  });
});

describe('a monitor selector', () => {
  const connection = withSegment(connectionOf(['nsc', 'nsmgr', 'fwd'], 1), 1, { token: 't' });
  it.each([
    [{}, true],
    [{ networkServices: ['other'] }, false],
    [{ networkServices: ['other', 'svc'] }, true],
    [{ pathSegments: [{ id: 'id-0' }] }, true],
    [{ pathSegments: [{ id: 'id-0', name: 'nsmgr' }] }, false],
    [{ pathSegments: [{ name: 'nsmgr', token: 't' }, { id: 'id-2' }] }, true],
    [{ pathSegments: [{ name: 'nsc' }, { name: 'fwd' }] }, false],
    [{ pathSegments: [{}, {}, {}, {}] }, false],
    [{ pathSegments: [{ metrics: { any: 'thing' } }] }, true],
    [{ pathSegments: [{ id: 'id-0' }], networkServices: ['other'] }, false],
  ])('%j sees it: %s', (selector, seen) => {
    expect(matchesSelector(create(MonitorScopeSelectorSchema, selector), connection)).toBe(seen);
  });
});

describe('an event of the next hop', () => {
  const stored = { ...connectionOf(['nsc', 'nsmgr', 'fwd'], 1), networkServiceEndpointName: 'nse' };
  const entryOf = (change: object) => ({ ...connectionOf(['nsc', 'nsmgr', 'fwd'], 2), ...change });

  it('says nothing new, or is about another connection', () => {
    expect(viewOfNextHopEvent(stored, entryOf({}), false)).toBeUndefined();
    const other = withSegment(entryOf({ state: State.DOWN }), 1, { id: 'other' });
    expect(viewOfNextHopEvent(stored, other, false)).toBeUndefined();
    const far = { ...connectionOf(['nsc', 'nsmgr', 'fwd', 'nse'], 3), state: State.DOWN };
    expect(viewOfNextHopEvent(stored, far, false)).toBeUndefined();
    expect(viewOfNextHopEvent(stored, entryOf({ path: undefined }), true)).toBeUndefined();
    // Of the Endpoint that a reselect has left.
    const left = withSegment(entryOf({}), 2, { id: 'left' });
    expect(viewOfNextHopEvent(stored, left, true)).toBeUndefined();
  });

  it('changes path, context and state, and leaves the rest as this hop sees it', () => {
    const context = create(ConnectionContextSchema, { MTU: 1400 });
    const entry = entryOf({ state: State.REFRESH_REQUESTED, context, networkService: 'ignored' });
    const view = viewOfNextHopEvent(stored, entry, false);
    expect(view).toMatchObject({
      id: 'id-1',
      state: State.REFRESH_REQUESTED,
      networkService: 'svc',
      networkServiceEndpointName: 'nse',
      path: { index: 1 },
      context: { MTU: 1400 },
    });
  });

  it('is DOWN after a deletion', () => {
    expect(viewOfNextHopEvent(stored, entryOf({}), true)?.state).toBe(State.DOWN);
  });

  it('counts in an initial transfer only where the state differs', () => {
    const context = create(ConnectionContextSchema, { MTU: 1400 });
    expect(viewOfNextHopEvent(stored, entryOf({ context }), false, true)).toBeUndefined();
    expect(viewOfNextHopEvent(stored, entryOf({ state: State.DOWN }), false, true)?.state).toBe(
      State.DOWN,
    );
  });
});
