// Which connections have a path segment of a given id. Clients and hops of the reference ask their monitor by
// segment id, one stream per connection, so finding it must not mean looking at all of them.

import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';

export class SegmentIndex {
  /** Nearly always one connection per segment, so the single id is kept without a set around it. */
  readonly #connections = new Map<string, string | Set<string>>();

  /** Replaces what is known of one connection; `after` undefined forgets it. */
  change(before: Connection | undefined, after: Connection | undefined): void {
    const id = (after ?? before)?.id;
    if (id === undefined) return;
    const old = segmentIds(before);
    const next = segmentIds(after);
    if (old.length === next.length && old.every((each, at) => each === next[at])) return;
    for (const each of old) this.#remove(each, id);
    for (const each of next) this.#add(each, id);
  }

  connectionsOf(segmentId: string): Iterable<string> {
    const found = this.#connections.get(segmentId);
    return found === undefined ? [] : typeof found === 'string' ? [found] : found;
  }

  #add(segmentId: string, id: string): void {
    const found = this.#connections.get(segmentId);
    if (found === undefined || found === id) this.#connections.set(segmentId, id);
    else if (typeof found === 'string') this.#connections.set(segmentId, new Set([found, id]));
    else found.add(id);
  }

  #remove(segmentId: string, id: string): void {
    const found = this.#connections.get(segmentId);
    if (found === id) this.#connections.delete(segmentId);
    else if (typeof found === 'object' && found.delete(id) && found.size === 0) {
      this.#connections.delete(segmentId);
    }
  }
}

export function segmentIds(connection: Connection | undefined): readonly string[] {
  return connection?.path?.pathSegments.map(({ id }) => id) ?? [];
}
