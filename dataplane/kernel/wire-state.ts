// What the driver knows of a wire's objects in the kernel, from its own doing or from looking.
// Invariant: an end that is `kept` is the right device in the right place; only its settings may differ.

import type { LinkEnd } from '../../protocols/netlink/check-wire.ts';
import type { Wire } from '../../protocols/ports/dataplane.ts';
import type { Tag } from './owner.ts';

export type Side = 'client' | 'endpoint';
export const sides = ['client', 'endpoint'] as const;

/** What of an interface's configuration is ours and there. */
export interface EndConfiguration {
  readonly addresses: readonly string[];
  /** Prefix and gateway; an unknown gateway is absent. */
  readonly routes: readonly { readonly prefix: string; readonly gateway?: string }[];
  readonly neighbors: readonly string[];
}

export const nothingConfigured: EndConfiguration = { addresses: [], routes: [], neighbors: [] };

/** A node-side link of a wire and what hangs on it. */
export interface EndState {
  readonly side: Side;
  readonly generation: number;
  readonly name: string;
  readonly index: number;
  readonly tag: Tag;
  /** Set where the link carries another text than this tag: somebody changed it. */
  readonly lostTag?: boolean;
  /** Set where it is taken over from another forwarder: what the link says of itself until then. */
  readonly taken?: { readonly alias: string; readonly group: number; readonly master: number };
  readonly mtu: number;
  /** Up and in the owner's group, so that nothing need be said to it; each word is an event that others act on. */
  readonly isSettled: boolean;
  /** As last ensured; absent where it was only looked at. */
  readonly end?: LinkEnd;
  /** Index of the workload's interface in its namespace. */
  readonly peerIndex?: number;
  /** As `Joining.isRouted` said last; undefined where that is not known. */
  readonly isRouted?: boolean | undefined;
  readonly configuration: EndConfiguration;
}

export interface BridgeState {
  readonly name: string;
  readonly index: number;
  readonly tag: Tag;
}

/** Where planning starts from. */
export interface CurrentWire {
  readonly client?: EndState;
  readonly endpoint?: EndState;
  readonly bridge?: BridgeState;
  /** Ends that the wanted wire cannot use: switched away from, then removed. */
  readonly replaced: readonly EndState[];
  /** Indexes of what another forwarder left of the wire beside its ends; present where the wire is taken over. */
  readonly leftOver?: readonly number[];
  /** Tunnels whose device somebody deleted: what the filter of outer sources has of them is still there. */
  readonly lost?: readonly EndState[];
  /** Distinguishes this wire's names from those of another wire with the same hash. */
  readonly attempt: number;
  /** Set where somebody else's filters are in the way of ours. */
  readonly hasForeignFilters?: boolean;
  /** True where the kernel has just been looked at, so that looking again would not help. */
  readonly isFresh?: boolean;
}

export const absentWire: CurrentWire = { replaced: [], attempt: 0 };

/** Every end of it that is in the kernel, those that others have taken the place of included. */
export function endsOf(
  wire: Pick<CurrentWire, 'client' | 'endpoint'> & Partial<CurrentWire>,
): EndState[] {
  const { replaced = [], lost = [] } = wire;
  return [...sides.flatMap((side) => wire[side] ?? []), ...replaced, ...lost];
}

/** Indexes of the links that go once the wire does without them. */
export function leavingOf({ replaced, leftOver = [] }: CurrentWire): number[] {
  return [...replaced.map(({ index }) => index), ...leftOver];
}

/** The remembered state, where it says enough about the wanted wire; else it must be looked at. */
export function fittingState(known: CurrentWire | 'unknown', wire: Wire): CurrentWire | undefined {
  if (known === 'unknown') return undefined;
  const fits = sides.every((side) => {
    const [old, wanted] = [known[side]?.end, wire[side]];
    if (known[side] === undefined) return true;
    if (old?.kind === 'kernel' && wanted.kind === 'kernel') return old.netns === wanted.netns;
    if (old?.kind === 'wireguard' && wanted.kind === 'wireguard') {
      return old.localPort === wanted.localPort;
    }
    if (old?.kind !== 'vxlan' || wanted.kind !== 'vxlan') return false;
    return (
      old.vni === wanted.vni && old.localPort === wanted.localPort && old.localIp === wanted.localIp
    );
  });
  return fits ? known : undefined;
}
