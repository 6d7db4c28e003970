// The kernel of one simulated node: namespaces with interfaces, wires of several owners, tunnels' VNIs.
// NSM concept: none; it stands in for the machine, so that a whole mesh runs in one process.
// Invariants: names are unique per namespace and VNIs per UDP port and address family, as in Linux; so are memif sockets
// and key pairs; nothing here waits, and every change is one call.

import { NsmError } from '../../protocols/errors.ts';
import type {
  KernelEnd,
  MemifEnd,
  VxlanEnd,
  Wire,
  WireCounters,
  WireguardEnd,
} from '../../protocols/ports/dataplane.ts';
import { mechanismType } from '../../protocols/nsm/mechanism.ts';
import { tunnelOverheadBytes } from '../../protocols/nsm/mtu.ts';

export type SimulatedSide = 'client' | 'endpoint';

export interface SimulatedInterface {
  readonly index: number;
  readonly name: string;
  readonly macAddress: string;
  readonly addresses: readonly string[];
  readonly mtu: number;
  readonly isUp: boolean;
}

/** What somebody can do to the node's side of an end, beside deleting it; in words, as it is reported. */
export const simulatedHarm = {
  down: 'is down',
  renamed: 'has another name',
  untagged: 'has lost its tag',
  remoteless: 'has lost its remote',
  unfiltered: 'is not in the filter of outer sources',
} as const;
export type SimulatedHarm = keyof typeof simulatedHarm;

/** What can be made here. */
export type MadeEnd = KernelEnd | MemifEnd | VxlanEnd | WireguardEnd;

/** One end of a wire as it is, with the interface that it has in a namespace where it has one. */
export interface SimulatedEnd {
  readonly end: MadeEnd;
  readonly interface?: SimulatedInterface;
  readonly harm?: readonly SimulatedHarm[];
}

export interface SimulatedWire {
  readonly client?: SimulatedEnd;
  readonly endpoint?: SimulatedEnd;
  /** Version of its tag. */
  readonly version: number;
  readonly isJoined: boolean;
  /** Ends that a retarget has left and not yet removed. */
  readonly replaced: readonly SimulatedEnd[];
  readonly counters: Partial<Record<SimulatedSide, WireCounters>>;
}

export type WorldEvent = { readonly owner: string; readonly wireId: string } & (
  | { readonly kind: 'namespaceGone' | 'linkDown' | 'linkUp'; readonly side: SimulatedSide }
  | { readonly kind: 'damaged' }
);

/** MTU of a wire that asks for none; over a tunnel less, as NSM counts. */
const plainMtu = 1500;

export class SimulatedWorld {
  readonly #wires = new Map<string, Map<string, SimulatedWire>>();
  readonly #namespaces = new Map<string, Map<string, SimulatedInterface>>();
  /** What one end alone may have: VNIs, key pairs, memif sockets. */
  readonly #taken = new Set<string>();
  readonly #gone = new Set<string>();
  /** How many have had the URL before, by URL. */
  readonly #strangers = new Map<string, number>();
  readonly #listeners = new Set<(event: WorldEvent) => void>();
  #lastIndex = 1;

  wiresOf(owner: string): Map<string, SimulatedWire> {
    const wires = this.#wires.get(owner) ?? new Map<string, SimulatedWire>();
    this.#wires.set(owner, wires);
    return wires;
  }

  owners(): Iterable<string> {
    return this.#wires.keys();
  }

  /** Of all owners. */
  *wires(): Generator<SimulatedWire> {
    for (const wires of this.#wires.values()) yield* wires.values();
  }

  /** As traffic does, which no driver causes; nobody hears of it. */
  changeWires(change: (wire: SimulatedWire) => SimulatedWire): void {
    for (const wires of this.#wires.values()) {
      for (const [id, wire] of wires) wires.set(id, change(wire));
    }
  }

  /** Ends of wires, of all owners. */
  objectCount(): number {
    let count = 0;
    for (const wires of this.#wires.values()) {
      for (const wire of wires.values()) {
        count += (wire.client ? 1 : 0) + (wire.endpoint ? 1 : 0) + wire.replaced.length;
      }
    }
    return count;
  }

  /** VNIs, key pairs and memif sockets in use. */
  get takenCount(): number {
    return this.#taken.size;
  }

  interfaceIn(namespace: string, name: string): SimulatedInterface | undefined {
    return this.#namespaces.get(namespace)?.get(name);
  }

  watch(listener: (event: WorldEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Makes one end. Errors as the port's: NOT_FOUND, ALREADY_EXISTS (with rule `vni` for VXLAN). */
  makeEnd(end: MadeEnd, mtu: number): SimulatedEnd {
    const netns = namespaceOf(end);
    if (netns !== undefined && this.#gone.has(netns)) throw nowhere(netns);
    if (end.kind !== 'kernel') {
      const { rule, key, what } = takes(end);
      if (this.#taken.has(key)) throw taken(rule, `${what} is taken on this node`);
      this.#taken.add(key);
      return { end };
    }
    const interfaces = this.#namespaces.get(end.netns) ?? new Map<string, SimulatedInterface>();
    if (interfaces.has(end.interfaceName)) {
      throw taken('interface name', `interface ${end.interfaceName} exists in ${end.netns}`);
    }
    this.#lastIndex++;
    const made = describe(end, { index: this.#lastIndex, mtu, isUp: true });
    interfaces.set(end.interfaceName, made);
    this.#namespaces.set(end.netns, interfaces);
    return { end, interface: made };
  }

  /** Brings an end that is kept to what is wanted; its interface keeps its index. */
  adjustEnd(old: SimulatedEnd, end: MadeEnd, mtu: number): SimulatedEnd {
    if (old.end.kind !== 'kernel' || end.kind !== 'kernel' || old.interface === undefined) {
      return { end };
    }
    const interfaces = this.#namespaces.get(end.netns);
    const isNewName = old.end.interfaceName !== end.interfaceName;
    if (isNewName && interfaces?.has(end.interfaceName) === true) {
      throw taken('interface name', `interface ${end.interfaceName} exists in ${end.netns}`);
    }
    const { index, isUp } = interfaces?.get(old.end.interfaceName) ?? old.interface;
    interfaces?.delete(old.end.interfaceName);
    const made = describe(end, { index, mtu, isUp });
    interfaces?.set(end.interfaceName, made);
    return { end, interface: made };
  }

  dropEnd({ end }: SimulatedEnd): void {
    if (end.kind !== 'kernel') this.#taken.delete(takes(end).key);
    else this.#namespaces.get(end.netns)?.delete(end.interfaceName);
  }

  /** The namespace dies: its interfaces and the ends behind them vanish, and whoever watches hears of it. */
  removeNamespace(url: string): void {
    this.#gone.add(url);
    this.#namespaces.delete(url);
    this.#forEachEnd((owner, wireId, side, wire) => {
      const found = wire[side];
      if (found === undefined || namespaceOf(found.end) !== url) return;
      this.dropEnd(found);
      const { [side]: _, ...rest } = wire;
      this.wiresOf(owner).set(wireId, { ...rest, isJoined: false });
      this.#publish({ kind: 'namespaceGone', owner, wireId, side });
    });
  }

  /** Another one is made, and gets the number of the one that was removed. */
  reuseNamespace(url: string): void {
    this.#gone.delete(url);
    this.#strangers.set(url, (this.#strangers.get(url) ?? 0) + 1);
  }

  /** As `Namespaces.identityOf`, within this world. */
  identityOf(url: string): string {
    if (this.#gone.has(url)) throw nowhere(url);
    return `${this.#strangers.get(url) ?? 0} ${url}`;
  }

  /** The workload sets its own interface up or down. */
  setInterfaceUp(url: string, name: string, isUp: boolean): void {
    const interfaces = this.#namespaces.get(url);
    const found = interfaces?.get(name);
    if (found === undefined || found.isUp === isUp) return;
    interfaces?.set(name, { ...found, isUp });
    this.#forEachEnd((owner, wireId, side, wire) => {
      if (wire[side]?.interface?.index !== found.index) return;
      this.#publish({ kind: isUp ? 'linkUp' : 'linkDown', owner, wireId, side });
    });
  }

  /** Somebody deletes the node's side of an end: the interface in the workload's namespace goes with it. */
  deleteEnd(owner: string, wireId: string, side: SimulatedSide): void {
    this.#harm(owner, wireId, (wire) => {
      const end = wire[side];
      if (end === undefined) return wire;
      this.dropEnd(end);
      const { [side]: _, ...rest } = wire;
      return { ...rest, isJoined: false };
    });
  }

  /** Somebody takes the cross connect of a wire away. */
  unjoin(owner: string, wireId: string): void {
    this.#harm(owner, wireId, (wire) => ({ ...wire, isJoined: false }));
  }

  harmEnd(owner: string, wireId: string, side: SimulatedSide, harm: SimulatedHarm): void {
    this.#harm(owner, wireId, (wire) => {
      const end = wire[side];
      return end === undefined ? wire : { ...wire, [side]: { ...end, harm: [harm] } };
    });
  }

  /** The workload deletes its own interface; the node's side goes with it. */
  deleteInterface(url: string, name: string): void {
    const index = this.#namespaces.get(url)?.get(name)?.index;
    this.#forEachEnd((owner, wireId, side, wire) => {
      if (index !== undefined && wire[side]?.interface?.index === index) {
        this.deleteEnd(owner, wireId, side);
      }
    });
  }

  /** An interface that nobody's driver made. */
  addForeignInterface(url: string, name: string): void {
    const interfaces = this.#namespaces.get(url) ?? new Map<string, SimulatedInterface>();
    this.#lastIndex++;
    const details = { index: this.#lastIndex, mtu: plainMtu, macAddress: '', addresses: [] };
    interfaces.set(name, { ...details, name, isUp: true });
    this.#namespaces.set(url, interfaces);
  }

  #harm(owner: string, wireId: string, change: (wire: SimulatedWire) => SimulatedWire): void {
    const wires = this.wiresOf(owner);
    const wire = wires.get(wireId);
    if (wire === undefined) return;
    wires.set(wireId, change(wire));
    this.#publish({ kind: 'damaged', owner, wireId });
  }

  #forEachEnd(
    visit: (owner: string, wireId: string, side: SimulatedSide, wire: SimulatedWire) => void,
  ): void {
    for (const [owner, wires] of this.#wires) {
      for (const wireId of wires.keys()) {
        for (const side of ['client', 'endpoint'] as const) {
          const wire = wires.get(wireId);
          if (wire !== undefined) visit(owner, wireId, side, wire);
        }
      }
    }
  }

  #publish(event: WorldEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

/** The MTU that a wire gets: as asked; else what fits its tunnel. */
export function simulatedMtu(wire: Wire): number {
  if (wire.mtu > 0) return wire.mtu;
  for (const end of [wire.client, wire.endpoint]) {
    if (end.kind !== 'vxlan' && end.kind !== 'wireguard') continue;
    const outer = end.remoteIp.includes(':') ? 6 : 4;
    return plainMtu - tunnelOverheadBytes(mechanismType[end.kind], outer);
  }
  return plainMtu;
}

function describe(
  end: KernelEnd,
  state: { readonly index: number; readonly mtu: number; readonly isUp: boolean },
): SimulatedInterface {
  const { interfaceName: name, macAddress, addresses } = end;
  return { ...state, name, macAddress: macAddress.toLowerCase(), addresses };
}

function namespaceOf(end: MadeEnd): string | undefined {
  if (end.kind === 'kernel') return end.netns;
  return end.kind === 'memif' && end.socket.kind === 'abstract' ? end.socket.netns : undefined;
}

function nowhere(url: string): NsmError {
  const details = { rule: 'namespace URL' };
  return new NsmError('NOT_FOUND', `network namespace ${url} is not there`, details);
}

/** What nobody else may have while the end is there. */
function takes(end: Exclude<MadeEnd, KernelEnd>) {
  switch (end.kind) {
    case 'vxlan': {
      const family = end.localIp.includes(':') ? 6 : 4;
      const key = `vxlan ${family} ${end.localPort} ${end.vni}`;
      return { rule: 'vni', key, what: `VNI ${end.vni}` };
    }
    case 'wireguard':
      return { rule: 'key', key: `key ${end.publicKey}`, what: `the key ${end.publicKey}` };
    case 'memif': {
      const { socket } = end;
      const name = socket.kind === 'file' ? socket.url : `${socket.netns} ${socket.name}`;
      return { rule: 'socket', key: `memif ${name}`, what: `the socket ${name}` };
    }
  }
}

function taken(rule: string, message: string): NsmError {
  return new NsmError('ALREADY_EXISTS', message, { rule, found: 'EEXIST' });
}
