// The path of a connection: one segment per process that the Request went through, and an index that says whose view
// the message shows. These are the reference's updatepath and trimpath elements as pure functions.
// Invariants: messages are never changed, only what differs is copied, so unknown fields and timestamps travel
// untouched; `connection.id` is the id of the segment at `path.index` in whatever these functions return.

import { create } from '@bufbuild/protobuf';
import { NsmError } from '../errors.ts';
import { limits } from '../limits.ts';
import {
  type Connection,
  ConnectionSchema,
  type Path,
  PathSchema,
  type PathSegment,
  PathSegmentSchema,
} from './gen/connection_pb.ts';

/**
 * The connection as the component `name` sees it when a Request or Close arrives: on its own segment, which is made
 * where there is none. A segment of another name in this place is taken over under a new id; those behind it stay, so
 * that an Endpoint keeps its connection id when only the forwarder before it has changed.
 * Throws INVALID_ARGUMENT naming index, found and expected.
 */
export function enterPath(
  connection: Connection | undefined,
  name: string,
  newId: () => string,
): Connection {
  const incoming = connection ?? create(ConnectionSchema);
  validatePath(incoming);
  const path = incoming.path;
  if (path === undefined || path.pathSegments.length === 0) {
    return startPath(incoming, name, newId);
  }
  const current = path.pathSegments[path.index];
  if (current === undefined) throw indexOutOfRange(path);
  if (current.name === name) {
    return incoming.id === current.id ? incoming : { ...incoming, id: current.id };
  }
  if (current.id !== incoming.id) {
    throw refuse('the connection id is not the id of the path segment that the sender stands on', {
      rule: `path.path_segments[${path.index}].id`,
      expected: `${current.id} (segment ${path.index}, ${current.name})`,
      found: incoming.id,
    });
  }
  return stepForward(incoming, path, name, newId);
}

function startPath(incoming: Connection, name: string, newId: () => string): Connection {
  const id = incoming.id === '' ? newId() : incoming.id;
  const segment = create(PathSegmentSchema, { name, id });
  const path = incoming.path ?? create(PathSchema);
  return { ...incoming, id, path: { ...path, index: 0, pathSegments: [segment] } };
}

function stepForward(
  incoming: Connection,
  path: Path,
  name: string,
  newId: () => string,
): Connection {
  const index = path.index + 1;
  const next = path.pathSegments[index];
  if (next === undefined && index >= limits.pathSegments) {
    throw refuse('the path has no room for another segment', {
      rule: 'path.path_segments',
      expected: `at most ${limits.pathSegments} segments`,
      found: `${path.pathSegments.length}, and ${name} would be one more`,
      remedy: 'look for a loop between the components named in the path',
    });
  }
  if (next?.name === name) {
    if (next.id === '') throw emptyId(index, name);
    return { ...incoming, id: next.id, path: { ...path, index } };
  }
  const id = newId();
  const own = next === undefined ? create(PathSegmentSchema, { name, id }) : { ...next, name, id };
  const pathSegments = path.pathSegments.slice();
  pathSegments[index] = own;
  return { ...incoming, id, path: { ...path, index, pathSegments } };
}

/**
 * The answer in the view of the caller whose message was `callerView`: its index and its segment's id. Everything that
 * the hops behind wrote stays. A caller that sent no path gets the answer as it is: its path began here.
 */
export function leavePath(answer: Connection, callerView: Connection): Connection {
  const callerPath = callerView.path;
  if (callerPath === undefined || callerPath.pathSegments.length === 0) return answer;
  const index = callerPath.index;
  const segment = answer.path?.pathSegments[index];
  if (answer.path === undefined || segment === undefined) {
    throw refuse('the answer has lost the segment of its caller', {
      rule: 'path.path_segments',
      expected: `segment ${index} (${callerPath.pathSegments[index]?.name ?? 'unknown'})`,
      found: `${answer.path?.pathSegments.length ?? 0} segments`,
    });
  }
  if (answer.path.index === index && answer.id === segment.id) return answer;
  return { ...answer, id: segment.id, path: { ...answer.path, index } };
}

/** The connection without the segments behind its own: what a hop without an onward client answers. */
export function trimPath(connection: Connection): Connection {
  const path = connection.path;
  if (path === undefined || path.pathSegments.length <= path.index + 1) return connection;
  return {
    ...connection,
    path: { ...path, pathSegments: path.pathSegments.slice(0, path.index + 1) },
  };
}

/**
 * The connection with the segments behind its own as `known`, the same connection as this hop last answered it, has
 * them. A caller that has not had that answer names hops that the connection has left, or none.
 */
export function withKnownBehind(connection: Connection, known: Connection | undefined): Connection {
  const { path } = connection;
  if (path === undefined || known?.path === undefined) return connection;
  const own = path.index;
  const behind = known.path.pathSegments.slice(own + 1);
  const said = path.pathSegments.slice(own + 1);
  if (said.length === behind.length && said.every(({ id }, at) => id === behind[at]?.id)) {
    return connection;
  }
  const pathSegments = [...path.pathSegments.slice(0, own + 1), ...behind];
  return { ...connection, path: { ...path, pathSegments } };
}

/** The segment at the index. Throws INVALID_ARGUMENT where the path has none. */
export function ownSegment(connection: Connection): PathSegment {
  const path = connection.path ?? create(PathSchema);
  const segment = path.pathSegments[path.index];
  if (segment === undefined) throw indexOutOfRange(path);
  return segment;
}

/** The caller's segment; undefined where the path begins here. */
export function previousSegment(connection: Connection): PathSegment | undefined {
  const path = connection.path;
  return path === undefined ? undefined : path.pathSegments[path.index - 1];
}

/** The next hop's segment, known after the first answer. */
export function nextSegment(connection: Connection): PathSegment | undefined {
  const path = connection.path;
  return path === undefined ? undefined : path.pathSegments[path.index + 1];
}

/** Whose place in the path the component `name` takes: the next segment of the message, where that is another's. */
export function replacedSegment(
  connection: Connection | undefined,
  name: string,
): PathSegment | undefined {
  const next = connection === undefined ? undefined : nextSegment(connection);
  const isOwn = connection?.path?.pathSegments[connection.path.index]?.name === name;
  return isOwn || next?.name === name ? undefined : next;
}

/**
 * Whether the message comes from a hop that the connection goes through no more: another segment stands in that hop's
 * place. Both in the view of the receiver.
 */
export function isPassedBy(stored: Connection, message: Connection): boolean {
  const [now, said] = [previousSegment(stored), previousSegment(message)];
  return now !== undefined && said !== undefined && now.id !== said.id;
}

/**
 * In the view of a hop that is no client: the path ends with it, so no hop behind it has answered. Its segment's id is made
 * up for this connection alone, which a client's need not be.
 */
export function isUnanswered({ path }: Connection): boolean {
  return path !== undefined && path.index > 0 && path.index === path.pathSegments.length - 1;
}

export type SegmentChange = Partial<
  Pick<PathSegment, 'name' | 'id' | 'token' | 'expires' | 'metrics'>
>;

/** The connection with `change` laid over the segment at `index`. Throws INVALID_ARGUMENT where there is none. */
export function withSegment(
  connection: Connection,
  index: number,
  change: SegmentChange,
): Connection {
  const path = connection.path ?? create(PathSchema);
  const segment = path.pathSegments[index];
  if (segment === undefined) throw indexOutOfRange({ ...path, index });
  const pathSegments = path.pathSegments.slice();
  pathSegments[index] = { ...segment, ...change };
  return { ...connection, path: { ...path, pathSegments } };
}

/**
 * Refuses a path that no hop may act on: index beyond the segments, too many segments, names, ids or tokens too long.
 * A path without segments is valid: it begins at the receiver, whatever its index says.
 */
export function validatePath(connection: Connection): void {
  if (connection.id.length > limits.idLength) {
    throw tooLong('id', connection.id.length, limits.idLength);
  }
  const path = connection.path;
  if (path === undefined || path.pathSegments.length === 0) return;
  const { pathSegments } = path;
  if (pathSegments.length > limits.pathSegments) {
    throw refuse('the path has too many segments', {
      rule: 'path.path_segments',
      expected: `at most ${limits.pathSegments}`,
      found: `${pathSegments.length}`,
    });
  }
  if (path.index >= pathSegments.length) throw indexOutOfRange(path);
  for (let index = 0; index < pathSegments.length; index += 1) {
    const segment = pathSegments[index];
    if (segment !== undefined) validateSegment(segment, `path.path_segments[${index}]`);
  }
}

/** Refuses a segment with a name, id or token beyond the limits; `where` names it in the error. */
export function validateSegment(segment: PathSegment, where: string): void {
  if (segment.name.length > limits.nameLength) {
    throw tooLong(`${where}.name`, segment.name.length, limits.nameLength);
  }
  if (segment.id.length > limits.idLength) {
    throw tooLong(`${where}.id`, segment.id.length, limits.idLength);
  }
  if (segment.token.length > limits.tokenLength) {
    throw tooLong(`${where}.token`, segment.token.length, limits.tokenLength);
  }
}

interface Refusal {
  readonly rule: string;
  readonly expected: string;
  readonly found: string;
  readonly remedy?: string;
}

function refuse(message: string, details: Refusal): NsmError {
  return new NsmError('INVALID_ARGUMENT', message, details);
}

function tooLong(rule: string, found: number, max: number): NsmError {
  return refuse('a text of the message is too long', {
    rule,
    expected: `at most ${max} characters`,
    found: `${found}`,
  });
}

function indexOutOfRange(path: Path): NsmError {
  return refuse('the path index points behind the last segment', {
    rule: 'path.index',
    expected: `less than ${path.pathSegments.length}, the number of segments`,
    found: `${path.index}`,
  });
}

function emptyId(index: number, name: string): NsmError {
  return refuse('the path segment of this hop has no id', {
    rule: `path.path_segments[${index}].id`,
    expected: `a non-empty id for ${name}`,
    found: 'an empty text',
    remedy: 'leave the segment out, or send the path of the last answer unchanged',
  });
}
