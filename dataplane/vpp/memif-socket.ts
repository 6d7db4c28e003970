// The name of a memif's socket in VPP's own words.

import type { MemifSocket } from '../../protocols/nsm/memif-mechanism.ts';

/** A path that VPP can open, of a `file://` or `inode://` URL. Errors: NOT_FOUND. */
export type PathOf = (url: string) => string;

const abstractPrefix = 'abstract:';
const namespaceOption = ',netns_name=';

export function memifSocketName(socket: MemifSocket, pathOf: PathOf): string {
  if (socket.kind === 'file') return pathOf(socket.url);
  // `@` stands for the byte 0, which VPP puts there by itself.
  return `${abstractPrefix}${socket.name.slice(1)}${namespaceOption}${pathOf(socket.netns)}`;
}

/** There are many paths to a namespace, and the one that was taken may have ended. */
export function isSameSocket(one: string, other: string): boolean {
  return withoutNamespace(one) === withoutNamespace(other);
}

const withoutNamespace = (name: string): string =>
  name.startsWith(abstractPrefix) ? (name.split(namespaceOption)[0] ?? '') : name;
