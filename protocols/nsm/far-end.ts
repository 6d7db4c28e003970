// How the hop that holds an Endpoint's end of a wire tells everybody before it that this end is gone for certain, with
// the namespace that it lived in: DOWN alone says no more than that a hop has lost the next one. The mark is a metric of
// the hop's own path segment, which hops of every make hand on unread; it names the end that it is about, so that it
// means nothing once the path leads elsewhere.

import { type Connection, State } from './gen/connection_pb.ts';
import { ownSegment, withSegment } from './path.ts';

const metric = 'vwire_end_gone';

/** What a path ends at: the id of its last segment. */
export const farEndOf = ({ path }: Connection): string => path?.pathSegments.at(-1)?.id ?? '';

/** The connection as DOWN, with the mark on the own segment; undefined where it ends elsewhere by now, or has the mark. */
export function withoutFarEnd(connection: Connection, end: string): Connection | undefined {
  if (farEndOf(connection) !== end || isFarEndGone(connection)) return undefined;
  const { metrics } = ownSegment(connection);
  const index = connection.path?.index ?? 0;
  const marked = { ...metrics, [metric]: end };
  return { ...withSegment(connection, index, { metrics: marked }), state: State.DOWN };
}

export function isFarEndGone(connection: Connection): boolean {
  if (connection.state !== State.DOWN) return false;
  const end = farEndOf(connection);
  return connection.path?.pathSegments.some(({ metrics }) => metrics[metric] === end) === true;
}

/** A Request is about the next end, whatever has become of the last one. */
export function withNoMark(connection: Connection): Connection {
  const { metrics } = ownSegment(connection);
  if (metrics[metric] === undefined) return connection;
  const { [metric]: _, ...rest } = metrics;
  return withSegment(connection, connection.path?.index ?? 0, { metrics: rest });
}
