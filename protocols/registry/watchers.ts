// Who watches what, so that a change touches only the watchers whose query can match it.
// Invariants: a watcher sits under exactly one key (name, else first service, else everything); an entry that
// stops matching a query is told to that watcher as deleted, so that no cache keeps it.

import type { NsmError } from '../errors.ts';
import type { WatchEvent, WatchQueue } from './watch-queue.ts';

export interface Watcher<Value extends { readonly name: string }> {
  readonly queue: WatchQueue<Value>;
  readonly matches: (value: Value) => boolean;
  /** Under which key a change must look for this watcher. */
  readonly interest:
    | { readonly kind: 'name'; readonly name: string }
    | { readonly kind: 'service'; readonly service: string }
    | { readonly kind: 'everything' };
}

type Group<Value extends { readonly name: string }> = Set<Watcher<Value>>;

export class Watchers<Value extends { readonly name: string }> {
  #byName = new Map<string, Group<Value>>();
  #byService = new Map<string, Group<Value>>();
  #everything: Group<Value> = new Set();
  #byQueue = new Map<WatchQueue<Value>, Watcher<Value>>();
  #servicesOf: (value: Value) => readonly string[];

  constructor(servicesOf: (value: Value) => readonly string[]) {
    this.#servicesOf = servicesOf;
  }

  get size(): number {
    return this.#byQueue.size;
  }

  add(watcher: Watcher<Value>): void {
    this.#byQueue.set(watcher.queue, watcher);
    const { interest } = watcher;
    if (interest.kind === 'everything') this.#everything.add(watcher);
    else if (interest.kind === 'name') addTo(this.#byName, interest.name, watcher);
    else addTo(this.#byService, interest.service, watcher);
  }

  remove(queue: WatchQueue<Value>): void {
    const watcher = this.#byQueue.get(queue);
    if (watcher === undefined) return;
    this.#byQueue.delete(queue);
    const { interest } = watcher;
    if (interest.kind === 'everything') this.#everything.delete(watcher);
    else if (interest.kind === 'name') removeFrom(this.#byName, interest.name, watcher);
    else removeFrom(this.#byService, interest.service, watcher);
  }

  /** `before` undefined: new; `after` undefined: gone. */
  publish(before: Value | undefined, after: Value | undefined): void {
    const value = after ?? before;
    if (value === undefined) return;
    this.#tell(this.#byName.get(value.name), before, after);
    this.#tell(this.#everything, before, after);
    const services = this.#servicesOf(value);
    for (const service of services) this.#tell(this.#byService.get(service), before, after);
    if (before === undefined || after === undefined) return;
    for (const service of this.#servicesOf(before)) {
      if (!services.includes(service)) this.#tell(this.#byService.get(service), before, after);
    }
  }

  endAll(error: NsmError): void {
    for (const queue of this.#byQueue.keys()) queue.end(error);
    this.#byQueue.clear();
    this.#byName.clear();
    this.#byService.clear();
    this.#everything.clear();
  }

  #tell(
    group: Group<Value> | undefined,
    before: Value | undefined,
    after: Value | undefined,
  ): void {
    for (const watcher of group ?? []) {
      const event = eventFor(watcher, before, after);
      if (event !== undefined && !watcher.queue.push(event)) this.remove(watcher.queue);
    }
  }
}

function eventFor<Value extends { readonly name: string }>(
  watcher: Watcher<Value>,
  before: Value | undefined,
  after: Value | undefined,
): WatchEvent<Value> | undefined {
  if (after !== undefined && watcher.matches(after)) return { value: after, deleted: false };
  if (before !== undefined && watcher.matches(before)) return { value: before, deleted: true };
  return undefined;
}

function addTo<Value extends { readonly name: string }>(
  groups: Map<string, Group<Value>>,
  key: string,
  watcher: Watcher<Value>,
): void {
  const group = groups.get(key);
  if (group === undefined) groups.set(key, new Set([watcher]));
  else group.add(watcher);
}

function removeFrom<Value extends { readonly name: string }>(
  groups: Map<string, Group<Value>>,
  key: string,
  watcher: Watcher<Value>,
): void {
  const group = groups.get(key);
  group?.delete(watcher);
  if (group?.size === 0) groups.delete(key);
}
