// From the kernel's events to news about wires: whoever else changed something of a wire makes it suspect, and only
// what a look confirms is told.
// Invariants: a look takes its turn behind the wire's own operation, so what that does is never taken for damage; at
// most one look per wire waits; a wire that the driver removes is forgotten first and is looked at no more.

import type { DataplaneEvent, KernelEnd, ObservedWire } from '../../protocols/ports/dataplane.ts';
import type { FailedNeighbor, LinkEvent, Netlink } from '../../protocols/ports/netlink.ts';
import type { FilterUse } from './filter-use.ts';
import type { Inspected } from './inspect-wire.ts';
import type { Inventory } from './observe.ts';
import type { WireLocks } from '../../protocols/wire-locks.ts';
import type { CurrentWire, Side } from './wire-state.ts';
import type { WireTable } from './wire-table.ts';

export interface DamageWatchSetup {
  readonly netlink: Netlink;
  readonly wires: WireTable;
  readonly locks: WireLocks;
  readonly filter: FilterUse;
  readonly inspect: (id: string) => Promise<Inspected>;
  readonly inventory: () => Promise<Inventory>;
  readonly list: () => Promise<readonly ObservedWire[]>;
  readonly publish: (event: DataplaneEvent) => void;
  /** Somebody changed something, and nothing is missing of what the kernel's driver made. */
  readonly onHarmless: (wireId: string) => void;
  readonly onFailedNeighbor: (neighbor: FailedNeighbor) => void;
}

export interface DamageWatch {
  onEvent(event: LinkEvent): void;
}

const resolveTimeoutMs = 5_000;

export function createDamageWatch(setup: DamageWatchSetup): DamageWatch {
  return new Watch(setup);
}

class Watch implements DamageWatch {
  readonly #setup: DamageWatchSetup;
  readonly #suspects = new Set<string>();
  /** Whether the filter is being read, and whether it was changed once more since that began. */
  #reading: 'no' | 'yes' | 'again' = 'no';

  constructor(setup: DamageWatchSetup) {
    this.#setup = setup;
  }

  onEvent(event: LinkEvent): void {
    if (event.kind === 'lost') {
      void quietly(this.#afterLostEvents());
    } else if (event.kind === 'filterChanged') {
      this.#onFilterChanged();
    } else if (event.kind === 'neighborFailed') {
      this.#setup.onFailedNeighbor(event);
    } else {
      const meaning = this.#setup.wires.interpret(event);
      if (meaning === undefined) return;
      if ('news' in meaning) this.#setup.publish(meaning.news);
      else this.#suspect(meaning.suspect);
    }
  }

  #suspect(id: string): void {
    if (this.#suspects.has(id)) return;
    this.#suspects.add(id);
    const look = this.#setup.locks.hold([id], () => {
      this.#suspects.delete(id);
      return this.#lookAt(id);
    });
    void quietly(look);
  }

  async #lookAt(id: string): Promise<void> {
    const { wires, inspect, publish, onHarmless } = this.#setup;
    const known = wires.get(id);
    if (known === undefined) return;
    const before = wires.lastKnown(id);
    const { missing, gone, actual } = await inspect(id);
    // Meanwhile its namespace may have ended, which has been told, or the wire may have been given up.
    if (wires.get(id) !== known) return;
    if (missing.length === 0) return onHarmless(id);
    if (!wires.tell(id, actual)) return;
    const dead = await this.#deadEnd(before, gone);
    if (dead === undefined) publish({ kind: 'damaged', wireId: id, found: missing });
    else publish({ kind: 'namespaceGone', wireId: id, side: dead });
  }

  /** The first of the ends whose namespace is not there any more. */
  async #deadEnd(wire: CurrentWire | undefined, gone: readonly Side[]): Promise<Side | undefined> {
    for (const side of gone) {
      const end = wire?.[side]?.end;
      if (end?.kind === 'kernel' && !(await this.#isThere(end))) return side;
    }
    return undefined;
  }

  async #isThere({ netns: namespace }: KernelEnd): Promise<boolean> {
    const step = { namespace, protocol: 'route', requests: [] } as const;
    const outcome = await this.#setup.netlink.execute([step], { timeoutMs: resolveTimeoutMs });
    return outcome.ok || outcome.failure.code !== 'NOT_FOUND';
  }

  /** One reading of the filter for all tunnels, however many of them have lost something. */
  #onFilterChanged(): void {
    if (this.#reading !== 'no') {
      this.#reading = 'again';
      return;
    }
    this.#reading = 'yes';
    const reading = this.#afterFilterChange().finally(() => {
      const again = this.#reading === 'again';
      this.#reading = 'no';
      if (again) this.#onFilterChanged();
    });
    void quietly(reading);
  }

  async #afterFilterChange(): Promise<void> {
    const { wires, filter } = this.#setup;
    const tunnels = [...wires.tunnels()].flatMap(({ id, end }) =>
      end.kind === 'vxlan' ? [{ id, end }] : [],
    );
    if (tunnels.length === 0) return;
    const lacking = await filter.uncovered(
      tunnels.map(({ end }) => end),
      { timeoutMs: resolveTimeoutMs },
    );
    const ends = new Set(lacking);
    for (const { id, end } of tunnels) if (ends.has(end)) this.#suspect(id);
  }

  /** Compares what is watched with what is there, as if each difference had been an event. */
  async #afterLostEvents(): Promise<void> {
    const { wires, locks, inventory, list } = this.#setup;
    const watched = wires.watchedLinks();
    const links = [...(await inventory()).byWire.values()].flat();
    const byIndex = new Map(links.map(({ link }) => [link.index, link]));
    for (const [index, before] of watched) {
      // What was made or has changed since the look began was seen as it is no more.
      if (wires.watched(index) !== before) continue;
      if (locks.isHeld(before.wireId)) {
        this.#suspect(before.wireId);
        continue;
      }
      const link = byIndex.get(index);
      const kind = link === undefined ? 'gone' : link.isRunning ? 'running' : 'notRunning';
      this.onEvent({ kind, index });
    }
    for (const { id, complete } of await list()) if (!complete) this.#suspect(id);
  }
}

/** What cannot be looked at now is found by the next operation on the wire, or the next pass over all of them. */
async function quietly(looking: Promise<unknown>): Promise<void> {
  try {
    await looking;
  } catch {
    // Said above.
  }
}
