// Sockets of Endpoints that came as descriptors, each kept for the life of its entry in a registry. Meanwhile it is
// reached by its own path where that is seen here, and else by that of the descriptor.

import { closeSync } from 'node:fs';
import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import { timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import type { Clock, Timer, WallClock } from '../../protocols/ports/clock.ts';
import type { PeerDescriptors } from '../../protocols/ports/descriptors.ts';
import type { HeldDescriptors } from './held-descriptors.ts';
import { openSocketOf, visiblePathOf } from './socket-files.ts';

export interface KeptSocketsSetup {
  readonly held: HeldDescriptors;
  readonly clock: Clock;
  readonly wallClock: WallClock;
}

export interface ReceivedSocket {
  /** As the peer names it: `inode://<dev>/<ino>`. */
  readonly url: string;
  /** To dial, until the release. */
  readonly dialled: string;
  readonly release: () => void;
}

interface Kept extends ReceivedSocket {
  readonly expiry: Timer | undefined;
}

/** Beyond it the oldest is let go. */
const keptMax = 10_000;
/** Calls that are under way when an entry expires still go to its socket. */
const afterExpiryMs = 60_000;

export class KeptSockets {
  readonly #setup: KeptSocketsSetup;
  /** By name of the Endpoint. */
  readonly #kept = new Map<string, Kept>();

  constructor(setup: KeptSocketsSetup) {
    this.#setup = setup;
  }

  /** The socket that has come, or is here already; undefined where it is neither. */
  receive(url: string, descriptors: PeerDescriptors | undefined): ReceivedSocket | undefined {
    const { held } = this.#setup;
    const descriptor = descriptors?.take(url) ?? held.open(url);
    if (descriptor === undefined) return this.#bySight(url);
    const release = held.adopt(url, descriptor);
    const path = held.pathOf(url) ?? '';
    const visible = visiblePathOf(path, url);
    if (visible === undefined) return { url, release, dialled: `unix://${path}` };
    // The path outlives the socket, and a descriptor would only hold what an Endpoint that was killed has left.
    release();
    return seenAt(url, `unix://${visible}`);
  }

  /** A peer may send a descriptor once and name the socket ever after. */
  #bySight(url: string): ReceivedSocket | undefined {
    const known = [...this.#kept.values()].find((each) => each.url === url);
    const found = known && openSocketOf(known.dialled);
    if (known === undefined || found === undefined) return undefined;
    closeSync(found.descriptor);
    return found.inodeUrl === url ? seenAt(url, known.dialled) : undefined;
  }

  keep({ name, expirationTime }: NetworkServiceEndpoint, socket: ReceivedSocket): void {
    const { clock, wallClock } = this.#setup;
    this.forget(name);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= keptMax && oldest !== undefined) this.forget(oldest);
    const leftMs =
      expirationTime && timestampToEpochMs(expirationTime) - wallClock.epochMs() + afterExpiryMs;
    // One without an expiry ends when the registry says so.
    const expiry = leftMs && clock.after(Math.max(0, leftMs), () => this.forget(name));
    this.#kept.set(name, { ...socket, expiry: expiry || undefined });
  }

  forget(name: string): void {
    const known = this.#kept.get(name);
    if (known === undefined) return;
    known.expiry?.cancel();
    this.#kept.delete(name);
    known.release();
  }

  of(name: string): ReceivedSocket | undefined {
    return this.#kept.get(name);
  }

  close(): void {
    for (const name of this.#kept.keys()) this.forget(name);
  }
}

const seenAt = (url: string, dialled: string): ReceivedSocket => ({
  url,
  dialled,
  release: () => {},
});

export function isInode({ url }: NetworkServiceEndpoint): boolean {
  return url.startsWith('inode://');
}
