// MonitorConnections: which connections a subscriber sees, and what an event of the next hop means for one's own view.

import { createRegistry, equals } from '@bufbuild/protobuf';
import {
  type Connection,
  ConnectionSchema,
  type MonitorScopeSelector,
  type PathSegment,
  State,
} from './gen/connection_pb.ts';

/**
 * True where the subscriber sees the connection: its service is named (or none is), and the selector's segments match
 * a contiguous run of its path. Empty texts are wildcards; expiry and metrics play no part.
 */
export function matchesSelector(selector: MonitorScopeSelector, connection: Connection): boolean {
  const { networkServices, pathSegments } = selector;
  if (networkServices.length > 0 && !networkServices.includes(connection.networkService)) {
    return false;
  }
  if (pathSegments.length === 0) return true;
  const segments = connection.path?.pathSegments ?? [];
  for (let start = 0; start + pathSegments.length <= segments.length; start += 1) {
    if (pathSegments.every((wanted, offset) => isWanted(wanted, segments[start + offset]))) {
      return true;
    }
  }
  return false;
}

function isWanted(wanted: PathSegment, found: PathSegment | undefined): boolean {
  return (
    found !== undefined &&
    (wanted.name === '' || wanted.name === found.name) &&
    (wanted.id === '' || wanted.id === found.id) &&
    (wanted.token === '' || wanted.token === found.token)
  );
}

// Unknown fields count too, so that a newer peer's news are passed on. No extensions exist: the registry is empty.
const comparison = { unknown: true, registry: createRegistry() };

/**
 * Whether the next hop said `entry` of the connection that it holds behind `stored` now. After a reselect it may still
 * speak of the one that was left, which went through the same segment of this hop.
 */
export function isOfNextHop(stored: Connection, entry: Connection): boolean {
  const index = stored.path?.index ?? 0;
  const { path } = entry;
  if (path === undefined || path.pathSegments[index]?.id !== stored.id) return false;
  const next = stored.path?.pathSegments[index + 1];
  if (next !== undefined && path.pathSegments[index + 1]?.id !== next.id) return false;
  return path.index === index || path.index === index + 1;
}

/**
 * This hop's new view after the next hop said `entry`; undefined where the entry is about another connection or says
 * nothing new. Path, context and state come from the entry, index and everything else from `stored`; a deletion
 * becomes DOWN, since DELETE is only said by the hop on which Close ran. An entry of an initial transfer counts only
 * where its state differs.
 */
export function viewOfNextHopEvent(
  stored: Connection,
  entry: Connection,
  deleted: boolean,
  isInitialTransfer = false,
): Connection | undefined {
  const index = stored.path?.index ?? 0;
  const path = entry.path;
  if (path === undefined || !isOfNextHop(stored, entry)) return undefined;
  const state = deleted ? State.DOWN : entry.state;
  if (isInitialTransfer && state === stored.state) return undefined;
  const view: Connection = { ...stored, path: { ...path, index }, state };
  if (entry.context === undefined) delete view.context;
  else view.context = entry.context;
  return equals(ConnectionSchema, view, stored, comparison) ? undefined : view;
}
