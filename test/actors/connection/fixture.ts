// One hop under test: its connections behind a memory URL, a hop that records what it is asked and behaves as the test
// says, a hand-driven clock, and a journal that outlives a restart.

import { create } from '@bufbuild/protobuf';
import { expect } from 'vitest';
import { type Connections, createConnections } from '../../../actors/connection/connections.ts';
import {
  type ConnectionTable,
  createConnectionTable,
} from '../../../actors/connection/connection-table.ts';
import type { Hop } from '../../../actors/connection/hop.ts';
import type { Keeper } from '../../../actors/connection/keeping.ts';
import type { NextHopMessage } from '../../../actors/connection/next-hop-monitors.ts';
import { emptyTokens } from '../../../actors/connection/tokens.ts';
import { createActorSystem } from '../../../actors/runtime/actor-system.ts';
import type { ActorSystem } from '../../../actors/runtime/api.ts';
import { timestampFromEpochMs } from '../../../protocols/nsm/expiry.ts';
import {
  type Connection,
  ConnectionEventType,
  ConnectionSchema,
  MonitorConnection,
  MonitorScopeSelectorSchema,
  State,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import type { Journal } from '../../../protocols/ports/journal.ts';
import { type Log, silentLog } from '../../../protocols/ports/log.ts';
import type { Headers, Listening } from '../../../protocols/ports/rpc.ts';
import { createMemoryJournal } from '../../../transports/journal/memory-journal.ts';
import { createMemoryNetwork } from '../../../transports/memory/memory-network.ts';
import { createManualClock, type ManualClock, settle } from '../../sandbox/manual-clock.ts';
import { seededRandom } from '../runtime/fixture.ts';

export const lifetimeMs = 600_000;
const callMs = 15_000;
/** Where the hop closes a connection that is not refreshed: the token's end less the time of the call. */
export const closesAfterMs = lifetimeMs - callMs;

export interface HopFixture {
  readonly clock: ManualClock;
  /** What the hop was asked, oldest first: `request`, `refresh`, `close`. */
  readonly steps: string[];
  /** What the monitor told since the first `watch`, for example `UPDATE UP`. */
  readonly events: string[];
  readonly journal: Journal;
  readonly table: ConnectionTable;
  readonly directory: Connections['directory'];
  request(
    connection: Connection,
    options?: { signal?: AbortSignal; headers?: Headers },
  ): Promise<Connection>;
  close(connection: Connection): Promise<void>;
  watch(): Promise<void>;
  /** Which URL the connection's next hop is followed at, and how to speak as it. */
  readonly followed: Map<string, { url: string; say: (message: NextHopMessage) => void }>;
  /** Connections whose next hop is being asked for. */
  readonly expected: ReadonlySet<string>;
  /** Waits, moving time on as little as it takes. */
  run<T>(work: Promise<T>): Promise<T>;
  /** Ends this life and begins another one over the same journal. */
  restart(bootId?: string): Promise<void>;
  end(): Promise<void>;
}

export async function hopFixture(
  behave: Partial<Hop> = {},
  log: Log = silentLog,
  keeper?: Keeper,
): Promise<HopFixture> {
  const clock = createManualClock();
  const random = seededRandom(1);
  const journal = createMemoryJournal();
  const network = createMemoryNetwork({ clock });
  const steps: string[] = [];
  const events: string[] = [];
  const followed: HopFixture['followed'] = new Map();
  const expected = new Set<string>();
  const stopWatching = new AbortController();
  const channel = network.dialer.dial('memory:hop');
  const hop: Hop = {
    async request(request) {
      steps.push(request.previous === undefined ? 'request' : 'refresh');
      return (await behave.request?.(request)) ?? { connection: request.connection, memory: {} };
    },
    async close(connection, memory, call) {
      steps.push('close');
      await behave.close?.(connection, memory, call);
    },
    resume: (left) => behave.resume?.(left),
  };

  const live = async (bootId: string) => {
    const system: ActorSystem = createActorSystem({ name: 'hop', clock, random, log });
    const table = createConnectionTable({ journal, clock, bootId, lifetimeMsMax: lifetimeMs, log });
    const connections = createConnections({
      name: 'hop',
      system,
      clock,
      wallClock: clock,
      random,
      log,
      hop,
      table,
      tokens: emptyTokens(clock, lifetimeMs),
      ownCallTimeoutMs: 1_000,
      ...(keeper && { keeper }),
      nextHopMonitors: {
        expect: (id) => void expected.add(id),
        follow(id, url, say) {
          expected.delete(id);
          if (url === undefined) followed.delete(id);
          else followed.set(id, { url, say });
        },
        lost: () => {},
        close: () => {},
      },
    });
    connections.directory.adopt(await table.load());
    const listening = await network.listener.listen('memory:hop', connections.services);
    return { system, table, connections, listening };
  };

  const run = async <T>(work: Promise<T>): Promise<T> => {
    let isOver = false;
    const ended = work.finally(() => (isOver = true));
    ended.catch(() => {});
    for (let turn = 0; turn < 8 && !isOver; turn += 1) await settle();
    for (let turn = 0; turn < 1_000 && !isOver; turn += 1) await clock.advance(20);
    if (!isOver) throw new Error('nothing came within 20 s of virtual time');
    return ended;
  };
  const stop = async (life: { listening: Listening; system: ActorSystem }): Promise<void> => {
    await run(life.listening.close(0));
    await run(life.system.stop(2_000));
  };
  let current = await live('boot');

  return {
    clock,
    steps,
    events,
    journal,
    followed,
    expected,
    run,
    get table() {
      return current.table;
    },
    get directory() {
      return current.connections.directory;
    },
    request(connection, options = {}) {
      const request = create(NetworkServiceRequestSchema);
      request.connection = connection;
      return run(
        channel.client(NetworkService).request(request, { timeoutMs: callMs, ...options }),
      );
    },
    async close(connection) {
      await run(channel.client(NetworkService).close(connection, { timeoutMs: callMs }));
    },
    async watch() {
      const monitor = channel.client(MonitorConnection);
      const selector = create(MonitorScopeSelectorSchema);
      const read = async (): Promise<void> => {
        const options = { signal: stopWatching.signal };
        for await (const event of monitor.monitorConnections(selector, options)) {
          const states = Object.values(event.connections).map(({ state }) => nameIn(State, state));
          events.push([nameIn(ConnectionEventType, event.type), ...states].join(' '));
        }
      };
      void read().catch(() => {});
      await settle();
    },
    async restart(bootId = 'boot') {
      await stop(current);
      current = await live(bootId);
      await settle();
    },
    async end() {
      stopWatching.abort();
      await stop(current);
      expect([...expected], 'connections still expected').toEqual([]);
      expect(current.system.actorCount, 'actors left behind').toBe(0);
      expect(clock.pendingTimers, 'timers left behind').toBe(0);
    },
  };
}

const nameIn = (names: Readonly<Record<string, number>>, value: number): string =>
  Object.entries(names).find(([, each]) => each === value)?.[0] ?? String(value);

/** What a client asks first. */
export function asked(clock: ManualClock, id: string): Connection {
  return create(ConnectionSchema, {
    id,
    networkService: 'service',
    path: { index: 0, pathSegments: [{ name: 'client', id, expires: expiresFrom(clock) }] },
  });
}

/** What was answered, with a token of the client that lives on. */
export function again(clock: ManualClock, answer: Connection, state = State.UP): Connection {
  const [own, ...rest] = answer.path?.pathSegments ?? [];
  if (answer.path === undefined || own === undefined) throw new Error('an answer without a path');
  const pathSegments = [{ ...own, expires: expiresFrom(clock) }, ...rest];
  return { ...answer, state, path: { ...answer.path, pathSegments } };
}

function expiresFrom(clock: ManualClock) {
  return timestampFromEpochMs(clock.epochMs() + lifetimeMs);
}
