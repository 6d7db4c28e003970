// MonitorConnections of one process: the initial transfer from the connection table, then every change, to each
// subscriber in order. A subscriber that does not keep up is ended and resyncs; it never delays another one.

import { create } from '@bufbuild/protobuf';
import { NsmError } from '../../protocols/errors.ts';
import {
  type Connection,
  type ConnectionEvent,
  ConnectionEventSchema,
  ConnectionEventType,
  type MonitorScopeSelector,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { matchesSelector } from '../../protocols/nsm/monitor-selector.ts';
import { segmentIds } from './segment-index.ts';

/** Changes that may wait for one subscriber. */
const queueDepthMax = 8192;

/**
 * What one event carries at the most, by estimate: what has piled up goes out together, and a large state in parts,
 * since a message has a largest size (1 MiB on a bus, 4 MiB in gRPC). The reference sends the state as one event;
 * a client that asks for its own connection gets one event in any case.
 */
const eventBytesMax = 256 * 1024;

export interface Monitor {
  /**
   * `isAnswer`: the hop before has the same as the answer to its own Request. Where it follows all of its connections
   * by its name alone, as vwire's hops do (the reference's follow each by its id), it is not told once more: that
   * would double what a Request costs both.
   */
  publish(type: ConnectionEventType, connection: Connection, isAnswer?: boolean): void;
  /** Ends when `signal` is aborted; throws RESOURCE_EXHAUSTED at a subscriber that does not keep up. */
  subscribe(selector: MonitorScopeSelector, signal: AbortSignal): AsyncIterable<ConnectionEvent>;
  readonly subscribers: number;
}

interface Change {
  readonly type: ConnectionEventType;
  readonly connection: Connection;
}

interface Subscriber {
  readonly selector: MonitorScopeSelector;
  queue: Change[];
  overflowed: boolean;
  wake: (() => void) | undefined;
}

/** Established connections: all of them, or those with a path segment of that id. */
export type CurrentConnections = (segmentId: string | undefined) => Iterable<Connection>;

export function createMonitor(current: CurrentConnections): Monitor {
  const subscribers = new Subscribers();
  return {
    get subscribers() {
      return subscribers.size;
    },
    publish(type, connection, isAnswer = false) {
      for (const subscriber of subscribers.thatMayWant(connection)) {
        if (isAnswer && isHopBefore(subscriber.selector, connection)) continue;
        if (matchesSelector(subscriber.selector, connection)) {
          offer(subscriber, { type, connection });
        }
      }
    },
    async *subscribe(selector, signal) {
      const subscriber: Subscriber = { selector, queue: [], overflowed: false, wake: undefined };
      const onAbort = (): void => subscriber.wake?.();
      signal.addEventListener('abort', onAbort);
      subscribers.add(subscriber);
      try {
        const type = ConnectionEventType.INITIAL_STATE_TRANSFER;
        const initial = [...current(wantedId(selector))]
          .filter((each) => matchesSelector(selector, each))
          .map((connection) => ({ type, connection }));
        if (initial.length === 0) yield eventOf(type, []);
        yield* eventsOf(initial);
        while (!signal.aborted) {
          const waiting = subscriber.queue;
          subscriber.queue = [];
          yield* eventsOf(waiting);
          if (waiting.length > 0) continue;
          if (subscriber.overflowed) throw tooSlow();
          await new Promise<void>((resolve) => (subscriber.wake = resolve));
        }
      } finally {
        subscribers.delete(subscriber);
        signal.removeEventListener('abort', onAbort);
      }
    },
  };
}

function isHopBefore({ pathSegments }: MonitorScopeSelector, { path }: Connection): boolean {
  const [wanted] = pathSegments;
  const before = path?.pathSegments[path.index - 1];
  return pathSegments.length === 1 && wanted?.id === '' && wanted.name === before?.name;
}

/** A segment id that every connection wanted has; undefined where the selector names none. */
function wantedId(selector: MonitorScopeSelector): string | undefined {
  return selector.pathSegments.find(({ id }) => id !== '')?.id;
}

/** Subscribers by the segment id that they ask for, so that an event is offered to few. */
class Subscribers {
  readonly #general = new Set<Subscriber>();
  readonly #byId = new Map<string, Set<Subscriber>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(subscriber: Subscriber): void {
    this.#size += 1;
    const id = wantedId(subscriber.selector);
    if (id === undefined) this.#general.add(subscriber);
    else this.#byId.set(id, (this.#byId.get(id) ?? new Set()).add(subscriber));
  }

  delete(subscriber: Subscriber): void {
    this.#size -= 1;
    const id = wantedId(subscriber.selector);
    const group = id === undefined ? this.#general : this.#byId.get(id);
    group?.delete(subscriber);
    if (id !== undefined && group?.size === 0) this.#byId.delete(id);
  }

  *thatMayWant(connection: Connection): Iterable<Subscriber> {
    yield* this.#general;
    if (this.#byId.size === 0) return;
    for (const id of new Set(segmentIds(connection))) yield* this.#byId.get(id) ?? [];
  }
}

function offer(subscriber: Subscriber, change: Change): void {
  if (subscriber.overflowed) return;
  if (subscriber.queue.length >= queueDepthMax) subscriber.overflowed = true;
  else subscriber.queue.push(change);
  subscriber.wake?.();
  subscriber.wake = undefined;
}

/** Joins neighbours of one type about different connections, so that the order per connection stays. */
function* eventsOf(changes: readonly Change[]): Iterable<ConnectionEvent> {
  let batch = new Map<string, Connection>();
  let bytes = 0;
  let type: ConnectionEventType | undefined;
  for (const change of changes) {
    const size = estimatedBytes(change.connection);
    const isFull = bytes + size > eventBytesMax || batch.has(change.connection.id);
    if (type !== undefined && (isFull || change.type !== type)) {
      yield eventOf(type, batch.values());
      batch = new Map();
      bytes = 0;
    }
    type = change.type;
    bytes += size;
    batch.set(change.connection.id, change.connection);
  }
  if (type !== undefined) yield eventOf(type, batch.values());
}

/** Tokens are nearly all of it; the rest is taken as what an ordinary connection has. */
function estimatedBytes(connection: Connection): number {
  let bytes = 2048;
  for (const { token } of connection.path?.pathSegments ?? []) bytes += token.length + 128;
  return bytes;
}

function eventOf(type: ConnectionEventType, connections: Iterable<Connection>): ConnectionEvent {
  const event = create(ConnectionEventSchema, { type });
  for (const connection of connections) event.connections[connection.id] = connection;
  return event;
}

function tooSlow(): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', 'the monitor does not read its events fast enough', {
    rule: 'monitor-queue',
    expected: `at most ${queueDepthMax} events waiting`,
    remedy: 'open the stream again: it begins with the current state',
  });
}
