// What the next hops say about our connections: one MonitorConnections stream per next hop, shared by all
// connections that go through it (the reference opens one per connection). A stream that ends is DOWN for each of
// its connections once; it is opened again with back-off as long as a connection needs it. One whose connection was
// replaced for new certificates is opened again at once, and is DOWN only for those that the new stream does not tell.

import { create } from '@bufbuild/protobuf';
import { describeError } from '../../protocols/errors.ts';
import {
  type ConnectionEvent,
  MonitorConnection,
  ConnectionEventType,
  MonitorScopeSelectorSchema,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { isConnectionReplaced } from '../../protocols/messages/replaced-connection.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { Dialer } from '../../protocols/ports/rpc.ts';
import type { NextHopChanged } from './connection.ts';

export type NextHopMessage = NextHopChanged | { readonly type: 'nextHopLost' };

type Listener = (message: NextHopMessage) => void;

export interface NextHopMonitors {
  /**
   * A Request goes out whose next hop is not known yet: what the streams say of it meanwhile is kept for `follow`,
   * which ends this. Kept is only that it has gone DOWN or was deleted: its coming UP is what the answer says.
   */
  expect(id: string): void;
  /** `url` undefined: no longer followed. */
  follow(id: string, url: string | undefined, listener: Listener): void;
  /** There is a sign from elsewhere that this next hop is gone: DOWN for each of its connections. */
  lost(url: string): void;
  close(): void;
}

/** Pause before a stream is opened again, doubled up to the longest, with up to half of it taken off at random. */
const reopenAfterMs = 100;
const reopenAfterMsMax = 2_000;

/** How long a new stream has to tell of the connections that the replaced one followed. */
const retellMs = 1_000;

export interface NextHopMonitorsSetup {
  /** Own component name: the segment name that the next hop's events are selected by. */
  readonly name: string;
  readonly dialer: Dialer;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

interface NextHop {
  readonly url: string;
  readonly listeners: Map<string, Listener>;
  readonly abort: AbortController;
  reopen: Timer | undefined;
  failures: number;
  /** Followed by the stream before, and not told of by the one that replaces it. */
  readonly untold: Set<string>;
  settle: Timer | undefined;
}

/** By own id, then by next hop: the loss that was told of a connection before it was followed there. */
type Expected = Map<string, Map<string, NextHopChanged>>;

export function createNextHopMonitors(setup: NextHopMonitorsSetup): NextHopMonitors {
  const hops = new Map<string, NextHop>();
  const urlOf = new Map<string, string>();
  const expected: Expected = new Map();
  let isClosed = false;

  const open = (hop: NextHop): void => {
    void read(hop).then(
      (reason) => ended(hop, reason),
      (error: unknown) =>
        isConnectionReplaced(error) ? replace(hop) : ended(hop, describeError(error)),
    );
  };

  const replace = (hop: NextHop): void => {
    if (hop.abort.signal.aborted) return;
    if (hop.failures > 0) {
      ended(hop, 'the connection is replaced again and again');
      return;
    }
    for (const id of hop.listeners.keys()) hop.untold.add(id);
    hop.settle?.cancel();
    hop.settle = setup.clock.after(retellMs, () => settle(hop));
    // Counts as a failure until the new stream says something.
    hop.failures = 1;
    open(hop);
  };

  const read = async (hop: NextHop): Promise<string> => {
    const selector = create(MonitorScopeSelectorSchema, { pathSegments: [{ name: setup.name }] });
    const stream = setup.dialer.dial(hop.url).client(MonitorConnection);
    for await (const event of stream.monitorConnections(selector, { signal: hop.abort.signal })) {
      hop.failures = 0;
      dispatch(hop, expected, event, setup.name);
    }
    return 'the stream ended';
  };

  const ended = (hop: NextHop, reason: string): void => {
    if (hop.abort.signal.aborted) return;
    setup.log.warn('lost the monitor of a next hop', { url: hop.url, reason });
    if (hop.failures === 0) tellLost(hop);
    else settle(hop);
    hop.failures += 1;
    const delayMs = reopenDelayMs(hop.failures, setup.random);
    hop.reopen = setup.clock.after(delayMs, () => open(hop));
  };

  const drop = (hop: NextHop): void => {
    hops.delete(hop.url);
    hop.reopen?.cancel();
    hop.settle?.cancel();
    hop.abort.abort();
  };

  const leave = (id: string): void => {
    const url = urlOf.get(id);
    const hop = url === undefined ? undefined : hops.get(url);
    urlOf.delete(id);
    hop?.listeners.delete(id);
    hop?.untold.delete(id);
    if (hop?.listeners.size === 0) drop(hop);
  };

  const join = (id: string, url: string, listener: Listener): void => {
    const known = hops.get(url);
    const hop = known ?? newHop(url);
    hop.listeners.set(id, listener);
    urlOf.set(id, url);
    if (known !== undefined) return;
    hops.set(url, hop);
    open(hop);
  };

  return {
    expect: (id) => void expected.set(id, new Map()),
    follow(id, url, listener) {
      const missed = url === undefined ? undefined : expected.get(id)?.get(url);
      expected.delete(id);
      if (urlOf.get(id) === url) return;
      // Joining before leaving would be the same; leaving first keeps at most one hop per connection.
      leave(id);
      // Connections may end after the monitors do; nothing would ever close what they opened.
      if (url !== undefined && !isClosed) join(id, url, listener);
      if (missed !== undefined) listener(missed);
    },
    lost: (url) => tellLost(hops.get(url)),
    close() {
      isClosed = true;
      for (const hop of hops.values()) drop(hop);
      urlOf.clear();
      expected.clear();
    },
  };
}

function tellLost(hop: NextHop | undefined): void {
  for (const tell of hop?.listeners.values() ?? []) tell({ type: 'nextHopLost' });
}

/** Those of which the new stream has said nothing are gone, as far as this hop knows. */
function settle(hop: NextHop): void {
  hop.settle?.cancel();
  for (const id of hop.untold) hop.listeners.get(id)?.({ type: 'nextHopLost' });
  hop.untold.clear();
}

function newHop(url: string): NextHop {
  const abort = new AbortController();
  return {
    url,
    listeners: new Map(),
    abort,
    reopen: undefined,
    failures: 0,
    untold: new Set(),
    settle: undefined,
  };
}

/** Jittered, since after a restart of the bus all nodes would come at the same time otherwise. */
function reopenDelayMs(failures: number, random: Random): number {
  const full = Math.min(reopenAfterMsMax, reopenAfterMs * 2 ** (failures - 1));
  return full * (1 - random.integer(1000) / 2000);
}

/** Hands each entry of an event to the connection that it is about: the one whose segment stands before it. */
function dispatch(hop: NextHop, expected: Expected, event: ConnectionEvent, ownName: string): void {
  for (const entry of Object.values(event.connections)) {
    const own = entry.path?.pathSegments.find(
      ({ name, id }) => name === ownName && (hop.listeners.has(id) || expected.has(id)),
    );
    if (own === undefined) continue;
    const message: NextHopChanged = { type: 'nextHopChanged', entry, event: event.type };
    hop.untold.delete(own.id);
    const listener = hop.listeners.get(own.id);
    if (listener !== undefined) listener(message);
    else if (isLoss(message)) expected.get(own.id)?.set(hop.url, message);
    else expected.get(own.id)?.delete(hop.url);
  }
}

function isLoss({ entry, event }: NextHopChanged): boolean {
  return event === ConnectionEventType.DELETE || entry.state === State.DOWN;
}
