// The descriptors of one connection: those that came in, filed by device and inode until somebody takes them, and those
// that wait for the next bytes that go out.
// Invariant: what nobody takes is closed: after a while, beyond a number, and with the connection.

import { closeSync, fstatSync, openSync } from 'node:fs';
import { NsmError } from '../../protocols/errors.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Descriptor, PeerDescriptors } from '../../protocols/ports/descriptors.ts';
import type { Log } from '../../protocols/ports/log.ts';

export interface DescriptorBounds {
  /** Received on one connection and not taken yet; one more is closed at once. Also of those that wait to be sent. */
  readonly waitingMax: number;
  /** The same while nobody knows who the peer is. */
  readonly strangerMax: number;
  /** Received on all connections and not taken yet. */
  readonly totalMax: number;
  /** How long a received one waits to be taken. */
  readonly unclaimedMs: number;
}

/** One answer may name every Endpoint of a node. */
export const descriptorBoundsDefault: DescriptorBounds = {
  waitingMax: 256,
  strangerMax: 4,
  totalMax: 1_024,
  unclaimedMs: 15_000,
};

export interface SocketDescriptorsSetup extends DescriptorBounds {
  /** Shared by all connections. */
  readonly total: { count: number };
  readonly clock: Clock;
  readonly log: Log;
}

interface Unclaimed {
  readonly descriptor: Descriptor;
  readonly expiry: Timer;
}

export class SocketDescriptors implements PeerDescriptors {
  readonly #setup: SocketDescriptorsSetup;
  readonly #received = new Map<string, Unclaimed[]>();
  readonly #outgoing: Descriptor[] = [];
  #receivedCount = 0;
  #refusedCount = 0;
  #isAdmitted = false;
  #isClosed = false;

  constructor(setup: SocketDescriptorsSetup) {
    this.#setup = setup;
  }

  take(url: string): Descriptor | undefined {
    const found = this.#received.get(url)?.[0];
    if (found === undefined) return undefined;
    this.#forget(url, found);
    return found.descriptor;
  }

  send(descriptor: Descriptor): void {
    if (this.#isClosed) {
      throw new NsmError('UNAVAILABLE', 'the connection has ended', { rule: 'descriptors' });
    }
    const { waitingMax } = this.#setup;
    if (this.#outgoing.length >= waitingMax) {
      throw new NsmError('RESOURCE_EXHAUSTED', 'too many descriptors wait to be sent', {
        rule: 'descriptors',
        expected: `at most ${waitingMax} on one connection`,
      });
    }
    this.#outgoing.push(copyDescriptor(descriptor));
  }

  /** It is known who the peer is. */
  admit(): void {
    this.#isAdmitted = true;
  }

  /** What goes out with the next byte. */
  get next(): Descriptor | undefined {
    return this.#outgoing[0];
  }

  /** It has gone out, or cannot. */
  sent(): void {
    const descriptor = this.#outgoing.shift();
    if (descriptor !== undefined) closeSync(descriptor);
  }

  receive(descriptors: readonly Descriptor[]): void {
    for (const descriptor of descriptors) this.#file(descriptor);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    while (this.next !== undefined) this.sent();
    for (const unclaimed of this.#received.values()) {
      for (const { descriptor, expiry } of unclaimed) {
        expiry.cancel();
        closeSync(descriptor);
      }
    }
    this.#received.clear();
    this.#setup.total.count -= this.#receivedCount;
    this.#receivedCount = 0;
  }

  #file(descriptor: Descriptor): void {
    const url = inodeUrlOf(descriptor);
    const { waitingMax, strangerMax, totalMax, total, unclaimedMs, clock, log } = this.#setup;
    const max = this.#isAdmitted ? waitingMax : strangerMax;
    if (this.#isClosed || this.#receivedCount >= max || total.count >= totalMax) {
      closeSync(descriptor);
      this.#refusedCount += 1;
      // Once: whoever sends so many sends more of them.
      if (this.#refusedCount === 1)
        log.warn('closed a descriptor beyond the bounds', { max, totalMax });
      return;
    }
    const expiry = clock.after(unclaimedMs, () => {
      this.#forget(url, unclaimed);
      closeSync(descriptor);
      log.debug('closed a descriptor that nobody took', { url });
    });
    const unclaimed = { descriptor, expiry };
    this.#receivedCount += 1;
    total.count += 1;
    this.#received.set(url, [...(this.#received.get(url) ?? []), unclaimed]);
  }

  #forget(url: string, unclaimed: Unclaimed): void {
    unclaimed.expiry.cancel();
    this.#receivedCount -= 1;
    this.#setup.total.count -= 1;
    const left = (this.#received.get(url) ?? []).filter((each) => each !== unclaimed);
    if (left.length === 0) this.#received.delete(url);
    else this.#received.set(url, left);
  }
}

/** `inode://<dev>/<ino>`, as peers name it. */
export function inodeUrlOf(descriptor: Descriptor): string {
  const { dev, ino } = fstatSync(descriptor, { bigint: true });
  return `inode://${dev}/${ino}`;
}

/** O_PATH: names the file and gives no access to what is in it, as the reference sends it. */
const pathOnly = 0o1000_0000;

export function copyDescriptor(descriptor: Descriptor): Descriptor {
  return openPath(`/proc/self/fd/${descriptor}`);
}

/** Works for a socket's file as well, which cannot be opened otherwise. */
export function openPath(path: string): Descriptor {
  return openSync(path, pathOnly);
}
