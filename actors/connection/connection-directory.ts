// The live connection actors of one process by id. Spawns on the first Request, forgets at the end. Invariant: an
// id has at most one live actor. The runtime keeps parents small by sharding, so all of them stand at the top.

import { describeError, NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { ActorSystem } from '../runtime/api.ts';
import { connectionBehavior, type ConnectionMessage, type ConnectionSetup } from './connection.ts';
import type { ConnectionTable, Intent } from './connection-table.ts';
import type { Call, EnteredRequest, Hop, HopMemory } from './hop.ts';
import type { Keeper } from './keeping.ts';
import { LiveConnection } from './live-connection.ts';
import type { Monitor } from './monitor.ts';
import type { NextHopMonitors } from './next-hop-monitors.ts';
import type { TokenSource } from './tokens.ts';

/** Connections that one process serves at the most. */
const connectionsMax = 100_000;

export interface DirectorySetup {
  /** Component name, for errors. */
  readonly name: string;
  readonly system: ActorSystem;
  readonly clock: Clock;
  readonly log: Log;
  readonly hop: Hop;
  readonly table: ConnectionTable;
  readonly tokens: TokenSource;
  readonly monitor: Monitor;
  /** Absent at the last hop. */
  readonly nextHopMonitors?: NextHopMonitors;
  readonly ownCallTimeoutMs: number;
  /** As in `KeepingSetup`. */
  readonly keeper?: Keeper;
}

export interface ConnectionDirectory {
  request(entered: EnteredRequest): Promise<Connection>;
  /**
   * An id that is not there counts as closed, and so does one whose caller, as `by` shows it, it goes through no more.
   */
  close(id: string, call: Call, by?: Connection): Promise<void>;
  /** Has a connection put back what somebody else took away; resolves with what that was. */
  repair(id: string, call: Call): Promise<readonly string[]>;
  /** Takes up what the journal holds: goes on with what is established, closes behind what is not. */
  adopt(intents: readonly Intent[]): void;
  /** Tells one connection something; false where there is no such connection. */
  tell(id: string, message: ConnectionMessage): boolean;
  /** Closes all, within the time given; used where a role ends for good. */
  closeAll(timeoutMs: number): Promise<void>;
  readonly size: number;
}

export function createConnectionDirectory(setup: DirectorySetup): ConnectionDirectory {
  const live = new Map<string, LiveConnection>();
  let spawned = 0;

  // The same for all connections: each inherits it, so that it costs the memory of one.
  const { name: hopName, log, hop, tokens, table, monitor, ownCallTimeoutMs, keeper } = setup;
  const shared = {
    name: hopName,
    log,
    hop,
    tokens,
    table,
    monitor,
    ownCallTimeoutMs,
    ...(keeper && { keeper }),
    expect: (id: string): void => setup.nextHopMonitors?.expect(id),
    follow: (id: string, memory: HopMemory | undefined): void =>
      setup.nextHopMonitors?.follow(id, memory?.nextUrl, (message) =>
        live.get(id)?.ref.tell(message),
      ),
    closeOther: (id: string, call: Call): Promise<void> => close(id, call),
  };

  const spawn = (id: string): LiveConnection => {
    if (live.size >= connectionsMax) throw tooMany(setup.name);
    spawned += 1;
    // The number keeps the name free while an actor of the same id is still on its way out.
    const name = `${id}.${spawned}`;
    const mayEnd = (): boolean => entry.mayEnd() && live.delete(id);
    const own: ConnectionSetup = Object.assign(Object.create(shared) as typeof shared, {
      id,
      mayEnd,
    });
    const behavior = connectionBehavior(own);
    const entry = new LiveConnection(setup.system, setup.system.spawn(behavior, name));
    live.set(id, entry);
    return entry;
  };

  const close = async (id: string, call: Call, by?: Connection): Promise<void> => {
    const entry = live.get(id);
    if (entry === undefined) return;
    const timeoutMs = remaining(call, setup.clock);
    await entry.ask<void>((replyTo) => ({ type: 'close', call, by, replyTo }), { timeoutMs });
  };

  return {
    request: ({ call, ...entered }) =>
      (live.get(entered.connection.id) ?? spawn(entered.connection.id)).ask<Connection>(
        (replyTo) => ({ type: 'request', ...entered, call, replyTo }),
        { timeoutMs: remaining(call, setup.clock), signal: call.signal },
      ),
    close,
    repair: (id, call) => askRepair(live.get(id), call, remaining(call, setup.clock)),
    adopt(intents) {
      for (const intent of intents) spawn(intent.connection.id);
    },
    tell(id, message) {
      const entry = live.get(id);
      entry?.ref.tell(message);
      return entry !== undefined;
    },
    async closeAll(timeoutMs) {
      const { signal } = new AbortController();
      const call: Call = { deadlineMs: setup.clock.nowMs() + timeoutMs, signal, headers: {} };
      const results = await Promise.allSettled([...live.keys()].map((id) => close(id, call)));
      for (const result of results) {
        if (result.status === 'fulfilled') continue;
        setup.log.warn('closing at the end failed', { error: describeError(result.reason) });
      }
    },
    get size() {
      return live.size;
    },
  };
}

async function askRepair(
  entry: LiveConnection | undefined,
  call: Call,
  timeoutMs: number,
): Promise<readonly string[]> {
  if (entry === undefined) return [];
  return entry.ask<readonly string[]>((replyTo) => ({ type: 'repair', call, replyTo }), {
    timeoutMs,
  });
}

function remaining(call: Call, clock: Clock): number {
  return Math.max(1, call.deadlineMs - clock.nowMs());
}

function tooMany(hop: string): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', 'this hop holds as many connections as it may', {
    hop,
    rule: 'connections-max',
    expected: `at most ${connectionsMax}`,
  });
}
