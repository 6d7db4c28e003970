// What a hop is asked, for tests that drive one without a connection actor around it.

import { create } from '@bufbuild/protobuf';
import type { Call, HopRequest, NextHop } from '../../../actors/connection/hop.ts';
import { type Connection, ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { leadsToSame } from '../../../protocols/nsm/same-hop.ts';

export function call(): Call {
  const { signal } = new AbortController();
  return { deadlineMs: 15_000, signal, headers: {} };
}

/** A connection as the hop at `index` of this path sees it; ids are `id-0`, `id-1` and so on. */
export function connectionAt(
  index: number,
  names: readonly string[],
  change: Partial<Connection> = {},
): Connection {
  const pathSegments = names.map((name, at) => ({ name, id: `id-${at}` }));
  const path = { index, pathSegments };
  return {
    ...create(ConnectionSchema, { id: `id-${index}`, networkService: 'service', path }),
    ...change,
  };
}

export function hopRequest(connection: Connection, change: Partial<HopRequest> = {}): HopRequest {
  return {
    connection,
    preferences: [],
    previous: undefined,
    reselect: false,
    call: call(),
    recordIntent: async () => {},
    ...change,
  };
}

/** What a fake next hop was told, oldest first: `request memory:a`, `close memory:a`. */
export interface FakeNextHop extends NextHop {
  readonly told: string[];
  /** What was last sent. */
  readonly sent: { readonly connection: Connection; readonly preferences: readonly unknown[] }[];
}

/** Next hops that answer as `answer` says; candidates are tried in order. */
export function fakeNextHop(answer: (url: string, asked: Connection) => Connection): FakeNextHop {
  const told: string[] = [];
  const sent: FakeNextHop['sent'] = [];
  const close = async (url: string): Promise<void> => void told.push(`close ${url}`);
  return {
    told,
    sent,
    async request(url, asked) {
      told.push(`request ${url}`);
      sent.push(asked);
      return answer(url, asked.connection);
    },
    close,
    async tryInOrder(candidates, each, attempt) {
      let last: unknown = new NsmError('NOT_FOUND', 'no candidate');
      for (const candidate of candidates) {
        try {
          return await attempt(candidate, each);
        } catch (error) {
          last = error;
        }
      }
      throw last;
    },
    leave: close,
    stopLeaving: () => {},
    leaveReplaced(previous, next) {
      const url = previous?.memory.nextUrl;
      if (previous === undefined || url === undefined) return;
      if (!leadsToSame(previous.memory, next)) void close(url);
    },
  };
}
