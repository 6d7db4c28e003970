// What the next hops say about our connections: one MonitorConnections stream per next hop, shared by all
// connections that go through it (the reference opens one per connection).

import {
  type ConnectionEvent,
  ConnectionEventType,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import type { NextHopChanged } from './connection.ts';
import type { NextHopListener, NextHopMonitorsSetup } from './next-hop-stream.ts';
import { NextHopStream } from './next-hop-stream.ts';

export type { NextHopMessage, NextHopMonitorsSetup } from './next-hop-stream.ts';

export interface NextHopMonitors {
  /**
   * A Request goes out whose next hop is not known yet: what the streams say of it meanwhile is kept for `follow`,
   * which ends this. Kept is only that it has gone DOWN or was deleted: its coming UP is what the answer says.
   */
  expect(id: string): void;
  /** `url` undefined: no longer followed. */
  follow(id: string, url: string | undefined, listener: NextHopListener): void;
  /** There is a sign from elsewhere that this next hop is gone: DOWN for each of its connections. */
  lost(url: string): void;
  close(): void;
}

/** By own id, then by next hop: the loss that was told of a connection before it was followed there. */
type Expected = Map<string, Map<string, NextHopChanged>>;

export function createNextHopMonitors(setup: NextHopMonitorsSetup): NextHopMonitors {
  const hops = new Map<string, NextHopStream>();
  const urlOf = new Map<string, string>();
  const expected: Expected = new Map();
  let isClosed = false;

  const leave = (id: string): void => {
    const url = urlOf.get(id);
    const hop = url === undefined ? undefined : hops.get(url);
    urlOf.delete(id);
    if (hop === undefined) return;
    hop.leave(id);
    if (hop.listeners.size > 0) return;
    hops.delete(hop.url);
    hop.close();
  };

  const join = (id: string, url: string, listener: NextHopListener): void => {
    const known = hops.get(url);
    const hop =
      known ??
      new NextHopStream(setup, url, (from, event) => dispatch(from, expected, event, setup.name));
    hop.listeners.set(id, listener);
    urlOf.set(id, url);
    if (known !== undefined) return;
    hops.set(url, hop);
    hop.open();
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
    lost: (url) => hops.get(url)?.tellLost(),
    close() {
      isClosed = true;
      for (const hop of hops.values()) hop.close();
      hops.clear();
      urlOf.clear();
      expected.clear();
    },
  };
}

/** Hands each entry of an event to the connection that it is about: the one whose segment stands before it. */
function dispatch(
  hop: NextHopStream,
  expected: Expected,
  event: ConnectionEvent,
  ownName: string,
): void {
  for (const entry of Object.values(event.connections)) {
    const own = entry.path?.pathSegments.find(
      ({ name, id }) => name === ownName && (hop.listeners.has(id) || expected.has(id)),
    );
    if (own === undefined) continue;
    const message: NextHopChanged = { type: 'nextHopChanged', entry, event: event.type };
    hop.told(own.id);
    const listener = hop.listeners.get(own.id);
    if (listener !== undefined) listener(message);
    else if (isLoss(message)) expected.get(own.id)?.set(hop.url, message);
    else expected.get(own.id)?.delete(hop.url);
  }
}

function isLoss({ entry, event }: NextHopChanged): boolean {
  return event === ConnectionEventType.DELETE || entry.state === State.DOWN;
}
