// Sockets of Endpoints that came as descriptors, each kept for the life of its entry in a registry. Meanwhile it is
// reached by a path that stays the same.

import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import { timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import type { Clock, Timer, WallClock } from '../../protocols/ports/clock.ts';
import type { PeerDescriptors } from '../../protocols/ports/descriptors.ts';
import type { HeldDescriptors } from './held-descriptors.ts';

export interface KeptSocketsSetup {
  readonly held: HeldDescriptors;
  readonly clock: Clock;
  readonly wallClock: WallClock;
}

interface Kept {
  readonly url: string;
  readonly release: () => void;
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

  /** How to let go of the socket that has come, or is here already; undefined where it is neither. */
  receive(url: string, descriptors: PeerDescriptors | undefined): (() => void) | undefined {
    const { held } = this.#setup;
    const descriptor = descriptors?.take(url) ?? held.open(url);
    return descriptor === undefined ? undefined : held.adopt(url, descriptor);
  }

  keep({ name, expirationTime }: NetworkServiceEndpoint, url: string, release: () => void): void {
    const { clock, wallClock } = this.#setup;
    this.forget(name);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= keptMax && oldest !== undefined) this.forget(oldest);
    const leftMs =
      expirationTime && timestampToEpochMs(expirationTime) - wallClock.epochMs() + afterExpiryMs;
    // One without an expiry ends when the registry says so.
    const expiry = leftMs && clock.after(Math.max(0, leftMs), () => this.forget(name));
    this.#kept.set(name, { url, release, expiry: expiry || undefined });
  }

  forget(name: string): void {
    const known = this.#kept.get(name);
    if (known === undefined) return;
    known.expiry?.cancel();
    this.#kept.delete(name);
    known.release();
  }

  /** The inode URL under which it came. */
  urlOf(name: string): string | undefined {
    return this.#kept.get(name)?.url;
  }

  /** To dial, while it is held. */
  dialled(url: string): string {
    return `unix://${this.#setup.held.pathOf(url) ?? ''}`;
  }

  close(): void {
    for (const name of this.#kept.keys()) this.forget(name);
  }
}

export function isInode({ url }: NetworkServiceEndpoint): boolean {
  return url.startsWith('inode://');
}
