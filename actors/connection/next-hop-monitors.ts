// What the next hops say about our connections: one MonitorConnections stream per next hop, shared by all
// connections that go through it (the reference opens one per connection). A stream that ends is DOWN for each of
// its connections once; it is opened again with back-off as long as a connection needs it.

import { create } from '@bufbuild/protobuf';
import { describeError } from '../../protocols/errors.ts';
import {
  type ConnectionEvent,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Dialer } from '../../protocols/ports/rpc.ts';
import type { NextHopChanged } from './connection.ts';

export type NextHopMessage = NextHopChanged | { readonly type: 'nextHopLost' };

type Listener = (message: NextHopMessage) => void;

export interface NextHopMonitors {
  /** `url` undefined: no longer followed. */
  follow(id: string, url: string | undefined, listener: Listener): void;
  close(): void;
}

/** Pause before a stream is opened again, doubled with each failure up to the longest. */
const reopenAfterMs = 100;
const reopenAfterMsMax = 2_000;

export interface NextHopMonitorsSetup {
  /** Own component name: the segment name that the next hop's events are selected by. */
  readonly name: string;
  readonly dialer: Dialer;
  readonly clock: Clock;
  readonly log: Log;
}

interface NextHop {
  readonly url: string;
  readonly listeners: Map<string, Listener>;
  readonly abort: AbortController;
  reopen: Timer | undefined;
  failures: number;
}

export function createNextHopMonitors(setup: NextHopMonitorsSetup): NextHopMonitors {
  const hops = new Map<string, NextHop>();
  const urlOf = new Map<string, string>();

  const open = (hop: NextHop): void => {
    void read(hop).then(
      (reason) => ended(hop, reason),
      (error: unknown) => ended(hop, describeError(error)),
    );
  };

  const read = async (hop: NextHop): Promise<string> => {
    const selector = create(MonitorScopeSelectorSchema, { pathSegments: [{ name: setup.name }] });
    const stream = setup.dialer.dial(hop.url).client(MonitorConnection);
    for await (const event of stream.monitorConnections(selector, { signal: hop.abort.signal })) {
      hop.failures = 0;
      dispatch(hop, event, setup.name);
    }
    return 'the stream ended';
  };

  const ended = (hop: NextHop, reason: string): void => {
    if (hop.abort.signal.aborted) return;
    setup.log.warn('lost the monitor of a next hop', { url: hop.url, reason });
    if (hop.failures === 0)
      for (const tell of hop.listeners.values()) tell({ type: 'nextHopLost' });
    hop.failures += 1;
    const delayMs = Math.min(reopenAfterMsMax, reopenAfterMs * 2 ** (hop.failures - 1));
    hop.reopen = setup.clock.after(delayMs, () => open(hop));
  };

  const drop = (hop: NextHop): void => {
    hops.delete(hop.url);
    hop.reopen?.cancel();
    hop.abort.abort();
  };

  const leave = (id: string): void => {
    const url = urlOf.get(id);
    const hop = url === undefined ? undefined : hops.get(url);
    urlOf.delete(id);
    hop?.listeners.delete(id);
    if (hop?.listeners.size === 0) drop(hop);
  };

  const join = (id: string, url: string, listener: Listener): void => {
    const known = hops.get(url);
    const hop: NextHop = known ?? {
      url,
      listeners: new Map(),
      abort: new AbortController(),
      reopen: undefined,
      failures: 0,
    };
    hop.listeners.set(id, listener);
    urlOf.set(id, url);
    if (known !== undefined) return;
    hops.set(url, hop);
    open(hop);
  };

  return {
    follow(id, url, listener) {
      if (urlOf.get(id) === url) return;
      // Joining before leaving would be the same; leaving first keeps at most one hop per connection.
      leave(id);
      if (url !== undefined) join(id, url, listener);
    },
    close() {
      for (const hop of hops.values()) drop(hop);
      urlOf.clear();
    },
  };
}

/** Hands each entry of an event to the connection that it is about: the one whose segment stands before it. */
function dispatch(hop: NextHop, event: ConnectionEvent, ownName: string): void {
  for (const entry of Object.values(event.connections)) {
    const own = entry.path?.pathSegments.find(
      (segment) => segment.name === ownName && hop.listeners.has(segment.id),
    );
    if (own === undefined) continue;
    hop.listeners.get(own.id)?.({ type: 'nextHopChanged', entry, event: event.type });
  }
}
