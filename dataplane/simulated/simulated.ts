// The Dataplane port over a simulated world: same promises as the kernel's driver, no machine needed.
// Invariants: an operation either succeeds or leaves what was there before, except where a fault says that the
// process was killed; the client's end is kept while it is right; pure, so that a seed replays a whole mesh.

import { NsmError } from '../../protocols/errors.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import {
  type Budget,
  type Dataplane,
  type DataplaneCapabilities,
  type DataplaneEvent,
  namespaceRules,
  type ObservedWire,
  type ReplacedWire,
  takenOverRule,
  type Wire,
  type WireStatistics,
} from '../../protocols/ports/dataplane.ts';
import { checkInterfaces, checkWire } from '../../protocols/netlink/check-wire.ts';
import type {
  MadeEnd,
  SimulatedEnd,
  SimulatedSide,
  SimulatedWire,
  SimulatedWorld,
} from './simulated-world.ts';
import { simulatedHarm, simulatedMtu } from './simulated-world.ts';

/** What happens at a step: it fails and is undone, or the process is killed there. */
export type SimulatedFault = 'fail' | 'crash';

export interface SimulatedDataplaneOptions {
  readonly world: SimulatedWorld;
  readonly clock: Clock;
  readonly installation: string;
  readonly forwarder: string;
  /** Version of the tags that it writes; wires with a later one are left alone. Default 1. */
  readonly tagVersion?: number;
  /** Asked before each step. */
  readonly fault?: (operation: string, step: string) => SimulatedFault | undefined;
  /** How long each operation takes, in ms; default 0. */
  readonly delayMs?: () => number;
  /** Mechanism types that it makes; default KERNEL and VXLAN. MEMIF and WIREGUARD are there to be asked for. */
  readonly mechanisms?: readonly string[];
}

/** As the driver's probe answers. */
export const simulatedCapabilities = (
  mechanisms: readonly string[] = ['KERNEL', 'VXLAN'],
): DataplaneCapabilities => ({ mechanisms, missing: ['everything: nothing here is real'] });

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
    this.#owner = ownerOf(options.installation, options.forwarder);
  }

  async probe(budget: Budget): Promise<DataplaneCapabilities> {
    await this.#begin('probe', budget);
    return simulatedCapabilities(this.#options.mechanisms);
  }

  async ensure(wire: Wire, budget: Budget): Promise<void> {
    const { mechanisms, missing } = simulatedCapabilities(this.#options.mechanisms);
    checkWire(wire, {
      memif: mechanisms.includes('MEMIF'),
      wireguard: mechanisms.includes('WIREGUARD'),
      missing,
    });
    await this.#begin('ensure', budget);
    const { world } = this.#options;
    const wires = world.wiresOf(this.#owner);
    const undos: (() => void)[] = [];
    if (wire.replaces !== undefined && !wires.has(wire.id)) {
      this.#step('ensure', 'take over');
      this.#takeOver(wire, wire.replaces, undos);
    }
    const before = wires.get(wire.id) ?? nothing;
    if (!this.#isReadable(before)) throw laterVersion(wire.id);
    const there = (side: SimulatedSide) => [before[side], ...before.replaced];
    checkInterfaces(wire, (side) =>
      there(side).some((each) => each && isSameDevice(each.end, madeEndOf(wire, side))),
    );
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
      set({ isJoined: true, version: this.#tagVersion });
      this.#step('ensure', 'remove what was replaced');
      for (const end of replaced) world.dropEnd(end);
      set({ replaced: [] });
    } catch (error) {
      if (!(error instanceof Killed)) {
        if (before.client === undefined && before.endpoint === undefined) wires.delete(wire.id);
        else wires.set(wire.id, before);
        for (const undo of undos.reverse()) undo();
      }
      throw error;
    }
  }

  /** What another forwarder left of the wire becomes this one's, where it is the same client's. */
  #takeOver(wire: Wire, { forwarder, id }: ReplacedWire, undos: (() => void)[]): void {
    const { world, installation } = this.#options;
    const [own, others] = [this.#owner, ownerOf(installation, forwarder)].map((owner) =>
      world.wiresOf(owner),
    );
    const left = others?.get(id);
    if (left?.client === undefined || !this.#isReadable(left)) return;
    if (!isSameDevice(left.client.end, madeEndOf(wire, 'client'))) return;
    others?.delete(id);
    own?.set(wire.id, left);
    undos.push(() => {
      own?.delete(wire.id);
      others?.set(id, left);
    });
  }

  async remove(ids: readonly string[], budget: Budget): Promise<void> {
    await this.#begin('remove', budget);
    const wires = this.#options.world.wiresOf(this.#owner);
    for (const id of ids) {
      this.#step('remove', `remove ${id}`);
      const wire = wires.get(id);
      if (wire !== undefined && !this.#isReadable(wire)) continue;
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
      version: wire.version,
      complete: this.#isReadable(wire) && missingOf(wire).length === 0,
      missing: this.#isReadable(wire) ? missingOf(wire) : ['a later version of vwire made it'],
      readable: this.#isReadable(wire),
      objects: sides.filter((side) => wire[side] !== undefined).map((side) => `${id} ${side}`),
    }));
  }

  async inspect(id: string, budget: Budget): Promise<readonly string[]> {
    await this.#begin('inspect', budget);
    const wire = this.#options.world.wiresOf(this.#owner).get(id);
    return missingOf(wire ?? nothing);
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
    const { world } = this.#options;
    const stop = world.watch(({ owner, ...event }) => {
      if (owner !== this.#owner || this.#isClosed) return;
      if (event.kind !== 'damaged') {
        listener(event);
        return;
      }
      const wire = world.wiresOf(owner).get(event.wireId);
      listener({ ...event, found: missingOf(wire ?? nothing) });
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
    const end = madeEndOf(wire, side);
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
    const made = this.#make(side, end, mtu);
    undos.push(() => world.dropEnd(made));
    if (old !== undefined) replaced.push(old);
    return made;
  }

  get #tagVersion(): number {
    return this.#options.tagVersion ?? 1;
  }

  #isReadable({ version }: SimulatedWire): boolean {
    return version <= this.#tagVersion;
  }

  #make(side: SimulatedSide, end: MadeEnd, mtu: number): SimulatedEnd {
    try {
      return this.#options.world.makeEnd(end, mtu);
    } catch (error) {
      if (error instanceof NsmError && error.code === 'ALREADY_EXISTS') {
        throw this.#isTakenOver(end) ? takenOver(error) : error;
      }
      if (!(error instanceof NsmError) || error.code !== 'NOT_FOUND') throw error;
      throw new NsmError(error.code, error.message, { rule: namespaceRules[side], cause: error });
    }
  }

  /** By the MAC, which follows from the client's connection, a wire is known whoever carries it. */
  #isTakenOver(end: MadeEnd): boolean {
    const { world, installation } = this.#options;
    if (end.kind !== 'kernel') return false;
    return [...world.owners()].some(
      (owner) =>
        owner !== this.#owner &&
        owner.startsWith(ownerOf(installation, '')) &&
        [...world.wiresOf(owner).values()].some(
          ({ client }) =>
            client?.end.kind === 'kernel' &&
            client.end.netns === end.netns &&
            client.end.interfaceName === end.interfaceName &&
            client.end.macAddress === end.macAddress,
        ),
    );
  }

  async #begin(operation: string, budget: Budget): Promise<void> {
    const { clock, delayMs } = this.#options;
    const waitMs = delayMs?.() ?? 0;
    if (waitMs > 0) {
      const isLate = waitMs > budget.timeoutMs;
      await slept(clock, Math.min(waitMs, budget.timeoutMs), budget.signal);
      if (isLate && budget.signal?.aborted !== true) {
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

/** Resolves when the time is over, or earlier with the signal. */
function slept(clock: Clock, ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const wake = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', wake);
      resolve();
    };
    const timer = clock.after(ms, wake);
    signal?.addEventListener('abort', wake);
    if (signal?.aborted === true) wake();
  });
}

const ownerOf = (installation: string, forwarder: string): string => `${installation} ${forwarder}`;

function takenOver(cause: NsmError): NsmError {
  const { code, message, details } = cause;
  return new NsmError(code, message, { ...details, rule: takenOverRule, cause });
}

function laterVersion(wireId: string): NsmError {
  return new NsmError('FAILED_PRECONDITION', 'a later version made this wire', {
    rule: 'tag version',
    connectionId: wireId,
  });
}

const nothing: SimulatedWire = { version: 0, isJoined: false, replaced: [], counters: {} };

function missingOf(wire: SimulatedWire): string[] {
  const missing = sides.flatMap((side) => {
    const end = wire[side];
    if (end === undefined) return [`the link towards the ${side} is gone`];
    return (end.harm ?? []).map((harm) => `the link towards the ${side} ${simulatedHarm[harm]}`);
  });
  if (!wire.isJoined) missing.push('the ends are not joined');
  return [...missing, ...wire.replaced.map(({ end }) => `an end of kind ${end.kind} is left over`)];
}

/** The process was killed at a step: nothing is undone. */
class Killed extends NsmError {
  constructor(step: string) {
    super('UNAVAILABLE', `killed before: ${step}`);
  }
}

/** The end, of a wire that has been checked for what is not made here. */
function madeEndOf(wire: Wire, side: SimulatedSide): MadeEnd {
  const end = wire[side];
  if (end.kind !== 'vlan' && end.kind !== 'ipsec') return end;
  throw new NsmError('INTERNAL', `the ${side} of wire ${wire.id} is made`, { found: end.kind });
}

function isSameDevice(old: MadeEnd, wanted: MadeEnd): boolean {
  if (old.kind === 'kernel' && wanted.kind === 'kernel') return old.netns === wanted.netns;
  if (old.kind === 'wireguard' && wanted.kind === 'wireguard') {
    return (
      old.publicKey === wanted.publicKey &&
      old.localIp === wanted.localIp &&
      old.localPort === wanted.localPort
    );
  }
  if (old.kind === 'memif' && wanted.kind === 'memif') {
    const device = ({ role, mode, socket }: typeof old): string =>
      [role, mode, socket.kind === 'file' ? socket.url : `${socket.netns} ${socket.name}`].join();
    return device(old) === device(wanted);
  }
  if (old.kind !== 'vxlan' || wanted.kind !== 'vxlan') return false;
  return (
    old.vni === wanted.vni && old.localPort === wanted.localPort && old.localIp === wanted.localIp
  );
}
