// Open files that travel beside the calls of a connection between two processes of one machine (SCM_RIGHTS). NSM uses
// them for network namespaces and for sockets of Endpoints: a message names the file as `inode://<dev>/<ino>`, and the
// descriptor comes ahead of it on the same connection.
// Invariant: a descriptor has one owner at a time, who closes it.

/** An open file of this process, by its number. */
export type Descriptor = number;

/** The descriptors that one connection carries. */
export interface PeerDescriptors {
  /**
   * What the peer has sent for that inode URL and nobody has taken yet; it is the caller's from now on. Whoever has the
   * message that names it has it too, or never will.
   */
  take(url: string): Descriptor | undefined;
  /**
   * Sends a copy ahead of whatever goes to the peer next: the given one may be closed at once.
   * Errors: RESOURCE_EXHAUSTED (too many wait to be sent), UNAVAILABLE (the connection has ended).
   */
  send(descriptor: Descriptor): void;
}

/** Files that this process keeps open for its connections, so that what needs one of them finds it. */
export interface HeldFiles {
  /**
   * From now on `holder` needs these files, by inode URL, and no others. Of those that came to this process it keeps
   * the ones that can not be opened here otherwise, until `release`.
   */
  hold(holder: string, urls: readonly string[]): void;
  release(holder: string): void;
}
