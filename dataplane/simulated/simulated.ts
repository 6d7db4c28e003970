// The Dataplane port over a simulated world: same promises as the kernel's driver, no machine needed.
// Invariants: an operation either succeeds or leaves what was there before, except where a fault says that the
// process was killed; the client's end is kept while it is right; pure, so that a seed replays a whole mesh.

import { NsmError } from '../../protocols/errors.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type {
  Budget,
  Dataplane,
  DataplaneEvent,
  ObservedWire,
  Wire,
  WireEnd,
  WireStatistics,
} from '../../protocols/ports/dataplane.ts';
import { checkWire } from '../../protocols/netlink/check-wire.ts';
import type {
  SimulatedEnd,
  SimulatedSide,
  SimulatedWire,
  SimulatedWorld,
} from './simulated-world.ts';
import { simulatedMtu } from './simulated-world.ts';

/** What happens at a step: it fails and is undone, or the process is killed there. */
export type SimulatedFault = 'fail' | 'crash';

export interface SimulatedDataplaneOptions {
  readonly world: SimulatedWorld;
  readonly clock: Clock;
  readonly installation: string;
  readonly forwarder: string;
  /** Asked before each step. */
  readonly fault?: (operation: string, step: string) => SimulatedFault | undefined;
  /** How long each operation takes, in ms; default 0. */
  readonly delayMs?: () => number;
}

const sides = ['client', 'endpoint'] as const;
const noCounters = { rxBytes: 0n, txBytes: 0n, rxPackets: 0n, txPackets: 0n, drops: 0n };

export function createSimulatedDataplane(options: SimulatedDataplaneOptions): Dataplane {
  return new SimulatedDataplane(options);
}

class SimulatedDataplane implements Dataplane {
  readonly kind = 'simulated';
  readonly #options: SimulatedDataplaneOptions;
  readonly #owner: string;
  readonly #stops = new Set<() => void>();
  #isClosed = false;

  constructor(options: SimulatedDataplaneOptions) {
    this.#options = options;
    this.#owner = `${options.installation} ${options.forwarder}`;
  }

  async probe(budget: Budget): Promise<{ mechanisms: string[]; missing: string[] }> {
    await this.#begin('probe', budget);
    return { mechanisms: ['KERNEL', 'VXLAN'], missing: ['everything: nothing here is real'] };
  }

  async ensure(wire: Wire, budget: Budget): Promise<void> {
    checkWire(wire);
    await this.#begin('ensure', budget);
    const { world } = this.#options;
    const wires = world.wiresOf(this.#owner);
    const before = wires.get(wire.id) ?? { isJoined: false, replaced: [], counters: {} };
    const undos: (() => void)[] = [];
    const set = (change: Partial<SimulatedWire>) => {
      wires.set(wire.id, { ...(wires.get(wire.id) ?? before), ...change });
    };
    const replaced: SimulatedEnd[] = [...before.replaced];
    try {
      for (const side of sides) {
        this.#step('ensure', `make ${side} end`);
        const old = before[side];
        const placed = this.#place({ wire, side, old, undos, replaced });
        set({ [side]: placed, replaced: [...replaced], isJoined: false });
      }
      this.#step('ensure', 'join');
      set({ isJoined: true });
      this.#step('ensure', 'remove what was replaced');
      for (const end of replaced) world.dropEnd(end);
      set({ replaced: [] });
    } catch (error) {
      if (!(error instanceof Killed)) {
        for (const undo of undos.reverse()) undo();
        if (before.client === undefined && before.endpoint === undefined) wires.delete(wire.id);
        else wires.set(wire.id, before);
      }
      throw error;
    }
  }

  async remove(ids: readonly string[], budget: Budget): Promise<void> {
    await this.#begin('remove', budget);
    const wires = this.#options.world.wiresOf(this.#owner);
    for (const id of ids) {
      this.#step('remove', `remove ${id}`);
      const wire = wires.get(id);
      wires.delete(id);
      for (const side of sides) {
        const end = wire?.[side];
        if (end !== undefined) this.#options.world.dropEnd(end);
      }
      for (const end of wire?.replaced ?? []) this.#options.world.dropEnd(end);
    }
  }

  async list(budget: Budget): Promise<readonly ObservedWire[]> {
    await this.#begin('list', budget);
    return [...this.#options.world.wiresOf(this.#owner)].map(([id, wire]) => ({
      id,
      version: 1,
      complete: isWhole(wire),
      objects: sides.filter((side) => wire[side] !== undefined).map((side) => `${id} ${side}`),
    }));
  }

  async statistics(
    ids: readonly string[],
    budget: Budget,
  ): Promise<ReadonlyMap<string, WireStatistics>> {
    await this.#begin('statistics', budget);
    const wires = this.#options.world.wiresOf(this.#owner);
    const found = new Map<string, WireStatistics>();
    for (const id of ids) {
      const wire = wires.get(id);
      if (wire === undefined) continue;
      const statistics: { client?: typeof noCounters; endpoint?: typeof noCounters } = {};
      for (const side of sides) {
        if (wire[side] !== undefined) statistics[side] = wire.counters[side] ?? noCounters;
      }
      found.set(id, statistics);
    }
    return found;
  }

  watch(listener: (event: DataplaneEvent) => void): () => void {
    const stop = this.#options.world.watch(({ owner, ...event }) => {
      if (owner === this.#owner && !this.#isClosed) listener(event);
    });
    this.#stops.add(stop);
    return () => {
      this.#stops.delete(stop);
      stop();
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const stop of this.#stops) stop();
    this.#stops.clear();
  }

  /** The wanted end: the old one adjusted where it is the same device, else a new one beside it. */
  #place(options: {
    readonly wire: Wire;
    readonly side: SimulatedSide;
    readonly old: SimulatedEnd | undefined;
    readonly undos: (() => void)[];
    readonly replaced: SimulatedEnd[];
  }): SimulatedEnd {
    const { wire, side, old, undos, replaced } = options;
    const { world } = this.#options;
    const end = wire[side];
    // After a crash the wanted end may be among those that were being left.
    const left = replaced.findIndex((each) => isSameDevice(each.end, end));
    const spare = replaced[left];
    if (old !== undefined && spare !== undefined && !isSameDevice(old.end, end)) {
      replaced[left] = old;
      return this.#place({ ...options, old: spare });
    }
    const mtu = wire.mtu === 0 ? (old?.interface?.mtu ?? simulatedMtu(wire)) : wire.mtu;
    if (old !== undefined && isSameDevice(old.end, end)) {
      const adjusted = world.adjustEnd(old, end, mtu);
      undos.push(() => world.adjustEnd(adjusted, old.end, old.interface?.mtu ?? mtu));
      return adjusted;
    }
    const made = world.makeEnd(end, mtu);
    undos.push(() => world.dropEnd(made));
    if (old !== undefined) replaced.push(old);
    return made;
  }

  async #begin(operation: string, budget: Budget): Promise<void> {
    const { clock, delayMs } = this.#options;
    const waitMs = delayMs?.() ?? 0;
    if (waitMs > 0) {
      const isLate = waitMs > budget.timeoutMs;
      await new Promise<void>((resolve) => {
        clock.after(Math.min(waitMs, budget.timeoutMs), resolve);
      });
      if (isLate) {
        const details = { rule: 'deadline', expected: `${budget.timeoutMs} ms` };
        throw new NsmError('DEADLINE_EXCEEDED', `simulated ${operation} took too long`, details);
      }
    }
    if (this.#isClosed) throw new NsmError('UNAVAILABLE', 'the data plane is closed');
    if (budget.signal?.aborted === true) {
      throw new NsmError('CANCELLED', `simulated ${operation} was cancelled`);
    }
  }

  #step(operation: string, step: string): void {
    const fault = this.#options.fault?.(operation, step);
    if (fault === 'crash') throw new Killed(step);
    if (fault !== 'fail') return;
    const details = { rule: step, found: 'injected fault' };
    throw new NsmError('UNAVAILABLE', `simulated ${operation} failed to ${step}`, details);
  }
}

function isWhole({ client, endpoint, isJoined, replaced }: SimulatedWire): boolean {
  return client !== undefined && endpoint !== undefined && isJoined && replaced.length === 0;
}

/** The process was killed at a step: nothing is undone. */
class Killed extends NsmError {
  constructor(step: string) {
    super('UNAVAILABLE', `killed before: ${step}`);
  }
}

function isSameDevice(old: WireEnd, wanted: WireEnd): boolean {
  if (old.kind === 'kernel' && wanted.kind === 'kernel') return old.netns === wanted.netns;
  if (old.kind !== 'vxlan' || wanted.kind !== 'vxlan') return false;
  return (
    old.vni === wanted.vni && old.localPort === wanted.localPort && old.localIp === wanted.localIp
  );
}
