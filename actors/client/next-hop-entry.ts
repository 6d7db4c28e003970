// Whose connection an entry of the manager's monitor is about, and which way it goes. Pure.

import { isFarEndGone } from '../../protocols/nsm/far-end.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';

/** Another client of the same name has the same first segment; the manager's tells the two apart. */
export function isAboutSame(entry: Connection, known: Connection): boolean {
  return entry.path?.pathSegments[1]?.id === known.path?.pathSegments[1]?.id;
}

/** Said of an Endpoint that the client has left meanwhile. */
export function isAboutOtherEnd(entry: Connection, known: Connection): boolean {
  const [said, held] = [entry, known].map(({ path }) => path?.pathSegments.at(-1)?.id);
  return said !== held && entry.networkServiceEndpointName !== known.networkServiceEndpointName;
}

/** Says that the far end of this very wire is gone. */
export function isEndOf(entry: Connection, known: Connection): boolean {
  return isFarEndGone(entry) && isAboutSame(entry, known) && !isAboutOtherEnd(entry, known);
}
