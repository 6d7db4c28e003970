// Protects how a hop learns whether the next one holds a connection: only an answer without it says that it does not,
// silence and absence say nothing, and no look lasts longer than its time.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Intent } from '../../../actors/connection/connection-table.ts';
import { heldBehind } from '../../../actors/connection/held-behind.ts';
import type { Finding } from '../../../actors/connection/keeping.ts';
import {
  type ConnectionEvent,
  ConnectionEventSchema,
  ConnectionSchema,
  MonitorConnection,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import { type Listening, serve } from '../../../protocols/ports/rpc.ts';
import { createMemoryNetwork } from '../../../transports/memory/memory-network.ts';
import { createManualClock, type ManualClock, settle } from '../../sandbox/manual-clock.ts';

const timeMs = 2_000;

let clock: ManualClock;
let network: ReturnType<typeof createMemoryNetwork>;
let listening: Listening | undefined;
/** Streams that are open at the next hop, and the most there were. */
let open: number;
let openMax: number;

beforeEach(() => {
  clock = createManualClock();
  network = createMemoryNetwork({ clock });
  [open, openMax, listening] = [0, 0, undefined];
});

afterEach(async () => {
  await listening?.close(0);
  await settle();
  expect([open, clock.pendingTimers]).toEqual([0, 0]);
});

/** A next hop that says `first` to each look, or nothing. */
async function nextHop(first: ConnectionEvent | undefined): Promise<void> {
  const monitor = serve(MonitorConnection, {
    async *monitorConnections({ pathSegments }, { signal }) {
      expect(pathSegments).toMatchObject([{ name: 'own', id: 'own-id' }]);
      open += 1;
      openMax = Math.max(openMax, open);
      try {
        await settle();
        if (first !== undefined) yield first;
        if (signal.aborted) return;
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      } finally {
        open -= 1;
      }
    },
  });
  listening = await network.listener.listen('memory:next', [monitor]);
}

const path = { index: 1, pathSegments: [{ id: 'own-id' }, { id: 'next-id' }] };
const intent: Intent = {
  connection: create(ConnectionSchema, { id: 'own-id' }),
  preferences: [],
  memory: { nextUrl: 'memory:next' },
  closeAtMs: 0,
  established: true,
};
const holding = create(ConnectionEventSchema, { connections: { 'next-id': { path } } });
const empty = create(ConnectionEventSchema);

/** What as many looks at once find within their time. */
async function looked(times = 1): Promise<readonly Finding['kind'][]> {
  const look = heldBehind({ name: 'own', dialer: network.dialer, clock });
  const deadlineMs = clock.nowMs() + timeMs;
  const found: Finding['kind'][] = [];
  const each = async (): Promise<void> => {
    const { signal } = new AbortController();
    found.push((await look(intent, { deadlineMs, signal, headers: {} })).kind);
  };
  const looks = Promise.all(Array.from({ length: times }, each));
  for (let turn = 0; turn < 40 && found.length < times; turn += 1) await settle();
  await clock.advance(timeMs);
  await looks;
  return found;
}

it.each([
  ['holds it', holding, 'there'],
  ['has it no more', empty, 'gone'],
  ['says nothing', undefined, 'unknown'],
] as const)('a next hop that %s', async (_, first, kind) => {
  await nextHop(first);
  expect(await looked()).toEqual([kind]);
});

it('a next hop that is not there', async () => {
  expect(await looked()).toEqual(['unknown']);
});

it('a next hop that has no monitor cannot be kept for', async () => {
  listening = await network.listener.listen('memory:next', []);
  expect(await looked()).toEqual(['gone']);
});

it('many connections are looked after a few at a time', async () => {
  await nextHop(holding);
  expect(new Set(await looked(200))).toEqual(new Set(['there']));
  expect(openMax).toBeLessThanOrEqual(64);
});
