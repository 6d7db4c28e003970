// The descriptors that a process has received and still needs, by inode URL. Nothing is handed around inside the
// process: while one is held, whoever opens the URL finds it among the process's own descriptors.
// Invariant: held as long as somebody needs it, and no longer: a held descriptor keeps a namespace alive whose workload
// has ended, so what can be opened without it is not held beyond the call that it came with.

import { closeSync } from 'node:fs';
import type { Descriptor, HeldFiles } from '../../protocols/ports/descriptors.ts';
import { copyDescriptor, openPath } from './socket-descriptors.ts';

export interface HeldDescriptorsSetup {
  /**
   * Path under which the file of an inode URL can be opened here, as long as its workload lives, whether or not a
   * descriptor of it is held; undefined where there is none.
   */
  readonly find: (url: string) => string | undefined;
}

interface Held {
  readonly descriptor: Descriptor;
  /** Ids of connections, and objects that stand for calls. */
  readonly holders: Set<string | object>;
}

export class HeldDescriptors implements HeldFiles {
  readonly #find: HeldDescriptorsSetup['find'];
  readonly #held = new Map<string, Held>();
  readonly #urlsOf = new Map<string, readonly string[]>();

  constructor({ find }: HeldDescriptorsSetup) {
    this.#find = find;
  }

  /** Takes the descriptor over, until the returned function is called. */
  adopt(url: string, descriptor: Descriptor): () => void {
    const holder = {};
    const known = this.#held.get(url);
    if (known === undefined) {
      // A copy gives no access, whatever the peer had: a look-up tells it from those that a workload has.
      this.#held.set(url, { descriptor: copyDescriptor(descriptor), holders: new Set([holder]) });
    } else known.holders.add(holder);
    closeSync(descriptor);
    return () => this.#drop(url, holder);
  }

  hold(holder: string, urls: readonly string[]): void {
    const before = this.#urlsOf.get(holder) ?? [];
    const needed = urls.filter(
      (url) => before.includes(url) || (this.#held.has(url) && !this.needsNone(url)),
    );
    for (const url of needed) this.#held.get(url)?.holders.add(holder);
    for (const url of before) if (!needed.includes(url)) this.#drop(url, holder);
    if (needed.length === 0) this.#urlsOf.delete(holder);
    else this.#urlsOf.set(holder, needed);
  }

  release(holder: string): void {
    this.hold(holder, []);
  }

  /** Whether it is found without a descriptor, so that holding one would only keep it alive. */
  needsNone(url: string): boolean {
    return this.#find(url) !== undefined;
  }

  /** Whether the file can be opened here. */
  has(url: string): boolean {
    return this.#held.has(url) || this.needsNone(url);
  }

  /** Where other processes of this PID namespace find it too; the same as long as it is held. */
  pathOf(url: string): string | undefined {
    const held = this.#held.get(url);
    return held && `/proc/${process.pid}/fd/${held.descriptor}`;
  }

  /** A descriptor of its own for the caller; undefined where the file cannot be opened here. */
  open(url: string): Descriptor | undefined {
    const held = this.#held.get(url);
    if (held !== undefined) return copyDescriptor(held.descriptor);
    const path = this.#find(url);
    if (path === undefined) return undefined;
    try {
      return openPath(path);
    } catch {
      // Its process has ended since.
      return undefined;
    }
  }

  close(): void {
    for (const { descriptor } of this.#held.values()) closeSync(descriptor);
    this.#held.clear();
    this.#urlsOf.clear();
  }

  #drop(url: string, holder: string | object): void {
    const held = this.#held.get(url);
    if (held === undefined || !held.holders.delete(holder) || held.holders.size > 0) return;
    this.#held.delete(url);
    closeSync(held.descriptor);
  }
}
