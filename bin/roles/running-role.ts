// A role that has been put together and serves. Roles start in dependency order and stop in reverse.

import type { Listener, Listening, ServedService } from '../../protocols/ports/rpc.ts';

export interface RunningRole {
  /** Where it serves, with ports filled in. */
  readonly urls: readonly string[];
  /** Stops accepting, ends what is its own, within the time given. */
  stop(timeoutMs: number): Promise<void>;
}

/** Listens on every URL, or on none: a URL that cannot be bound closes those that were. */
export async function listenOnAll(
  listener: Listener,
  urls: readonly string[],
  services: readonly ServedService[],
): Promise<readonly Listening[]> {
  const listening: Listening[] = [];
  try {
    for (const url of urls) listening.push(await listener.listen(url, services));
    return listening;
  } catch (error) {
    await closeAll(listening, 0);
    throw error;
  }
}

export async function closeAll(listening: readonly Listening[], graceMs: number): Promise<void> {
  await Promise.allSettled(listening.map((each) => each.close(graceMs)));
}
