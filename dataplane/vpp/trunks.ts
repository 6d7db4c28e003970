// One host interface of VPP that carries the frames of many ends, each in tags of its own: an end costs VPP a sub-interface,
// which is there at once, instead of a packet socket, which stops VPP for some of the kernel's grace periods. NSM concept:
// none; the reference has a host interface, or a tap, for each end.
// Invariants: which trunk an end has follows from the number of its link and its frames, so that a wire which fills one's
// ring leaves those of most others alone; all trunks go with the last end, when nobody's packets can wait for that; where the
// kernel takes no program there is none, and each end has a host interface of its own.

import { parseMac } from '../../protocols/netlink/ip-address.ts';
import type { Link } from '../../protocols/netlink/link.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import type { NodeLink } from '../../protocols/ports/wire-ends.ts';
import { afPacketFlags, afPacketMode, interfaceFlags } from '../../protocols/vpp/messages/enums.ts';
import { createWireLocks } from '../../protocols/wire-locks.ts';
import { allTrunks, frameClassAt, trunkClassFor } from './frame-classes.ts';
import { type FoundEnd, hostInterfaceName, type Inventory } from './inventory.ts';
import { isSameTrunk, type Owner, parseTrunkTag, type TrunkId, trunkTag } from './tags.ts';
import { TrunkLinkKeeper, type TrunkLinks } from './trunk-links.ts';
import { linkIndexMax } from './trunk-programs.ts';

export interface Trunk extends TrunkId {
  /** `sw_if_index` of the host interface. */
  readonly index: number;
  readonly links: TrunkLinks;
}

/** Takes back what was done to the kernel's links. */
export type Detach = (budget: Budget) => Promise<void>;

export interface Trunks {
  /** Made where it is missing; with such frames where given. Undefined: the link needs a host interface of its own. */
  for(link: NodeLink, budget: Budget, frames?: number): Promise<Trunk | undefined>;
  /** Sends the link's frames to the trunk. */
  attach(link: NodeLink, trunk: Trunk, budget: Budget): Promise<Detach>;
  /** The link has a host interface of its own from now on. */
  detach(linkIndex: number, budget: Budget): Promise<void>;
  /** Those of the branches' links whose frames do not come to VPP. */
  unattached(branches: readonly FoundEnd[], budget: Budget): Promise<ReadonlySet<number>>;
  /** Until it is done every trunk stays: what it finds it may use. */
  during<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Takes all trunks away if no end has a branch. */
  release(budget: Budget): Promise<void>;
  /** Puts right whatever somebody did to the trunks that this owner has, also in a VPP that has just come up. */
  mend(budget: Budget): Promise<void>;
  /** Undefined where ends can have trunks; else why not. */
  whyNot(budget: Budget): Promise<string | undefined>;
}

/** Each end has a host interface of its own. */
export const noTrunks: Trunks = {
  for: async () => undefined,
  attach: async () => async () => {},
  detach: async () => {},
  unattached: async () => new Set(),
  during: (work) => work(),
  release: async () => {},
  mend: async () => {},
  whyNot: async () => undefined,
};

/** Frames that wait for VPP, in rings of an end of its own. */
const ringsOfEnds = 4;

type KnownTrunk = Trunk & { readonly life: number };

interface Setup {
  readonly vpp: Vpp;
  readonly netlink: Netlink;
  readonly owner: Owner;
  readonly inventory: Inventory;
}

/** Links that were made one after the other, or by turns for clients and Endpoints, are spread evenly (2^32 / golden ratio). */
const laneOf = (linkIndex: number, lanes: number): number =>
  (Math.imul(linkIndex, 0x9e3779b1) >>> 16) % lanes;

const isHostOf =
  (owner: Owner, id: TrunkId) =>
  ({ text }: FoundEnd): boolean => {
    const tag = parseTrunkTag(owner, text);
    return tag !== undefined && isSameTrunk(tag, id);
  };

/** Of a wire of this owner. */
const isBranch = ({ branch, tag }: FoundEnd): boolean => branch !== undefined && tag !== undefined;

const keyOf = ({ frames, lane }: TrunkId): string => `${frames} ${lane}`;

export function createTrunks(setup: Setup): Trunks {
  return new TrunkKeeper(setup);
}

class TrunkKeeper implements Trunks {
  readonly #setup: Setup;
  readonly #links: TrunkLinkKeeper;
  readonly #locks = createWireLocks();
  /** With the life of VPP in which each was made or found. */
  readonly #trunks = new Map<string, KnownTrunk>();
  #users = 0;
  #reason: Promise<string | undefined> | undefined;

  constructor(setup: Setup) {
    this.#setup = setup;
    this.#links = new TrunkLinkKeeper(setup);
  }

  whyNot(budget: Budget): Promise<string | undefined> {
    if (this.#reason === undefined) {
      const asking = this.#links.whyNot(budget);
      this.#reason = asking;
      asking.catch(() => {
        if (this.#reason === asking) this.#reason = undefined;
      });
    }
    return this.#reason;
  }

  async for(
    { index, mtu }: NodeLink,
    budget: Budget,
    frames = trunkClassFor(mtu),
  ): Promise<Trunk | undefined> {
    if (frames === undefined || index > linkIndexMax) return undefined;
    if ((await this.whyNot(budget)) !== undefined) return undefined;
    const id = { frames, lane: laneOf(index, frameClassAt(frames).lanes) };
    const there = await this.#whatIsThere(id, budget);
    if (there !== undefined) return there;
    return this.#locks.hold([keyOf(id)], async () => {
      const made = await this.#whatIsThere(id, budget);
      return made ?? this.#make(id, budget);
    });
  }

  attach({ index }: NodeLink, { links }: Trunk, budget: Budget): Promise<Detach> {
    return this.#links.attach(index, links.inner.index, budget);
  }

  detach(linkIndex: number, budget: Budget): Promise<void> {
    return this.#links.detach(linkIndex, budget);
  }

  async unattached(branches: readonly FoundEnd[], budget: Budget): Promise<ReadonlySet<number>> {
    const found = await Promise.all(
      [...this.#trunks.values()].map(({ index, links }) => {
        const ofTrunk = branches.flatMap(({ branch }) =>
          branch?.trunk === index ? [branch.link] : [],
        );
        return this.#links.unattached(ofTrunk, links.inner.index, budget);
      }),
    );
    return new Set(found.flat());
  }

  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#users++;
    try {
      return await work();
    } finally {
      this.#users--;
    }
  }

  async release(budget: Budget): Promise<void> {
    const { inventory, owner } = this.#setup;
    await inventory.ready(budget);
    if (this.#users > 0 || inventory.some(isBranch)) return;
    const hosts = inventory.all().filter(({ text }) => parseTrunkTag(owner, text) !== undefined);
    // From here on whoever wants one waits for its lock, and makes it anew.
    this.#trunks.clear();
    await this.#locks.hold(allTrunks.map(keyOf), async () => {
      for (const host of hosts) await this.#drop(host, budget);
      await this.#links.remove(allTrunks, budget);
    });
  }

  async mend(budget: Budget): Promise<void> {
    const { inventory, owner } = this.#setup;
    await inventory.ready(budget);
    const there = inventory.all().flatMap(({ text }) => parseTrunkTag(owner, text) ?? []);
    const all = new Map([...this.#trunks.values(), ...there].map((id) => [keyOf(id), id]));
    for (const [key, id] of all) {
      await this.#locks.hold([key], async () => {
        // Released meanwhile.
        if (!this.#trunks.has(key) && !inventory.some(isHostOf(owner, id))) return;
        const known = await this.#whatIsThere(id, budget);
        const isWhole = known && (await this.#links.isWhole(known.links, budget));
        if (isWhole !== true) await this.#make(id, budget);
      });
    }
  }

  /** The trunk, if VPP still has it as it was made. */
  async #whatIsThere(id: TrunkId, budget: Budget): Promise<Trunk | undefined> {
    const { inventory } = this.#setup;
    const known = this.#trunks.get(keyOf(id));
    if (known?.life !== inventory.life) return undefined;
    await inventory.lookAtOne(known.index, budget);
    return this.#isRight(known) ? known : undefined;
  }

  #isRight(known: KnownTrunk): boolean {
    const { inventory, owner } = this.#setup;
    if (known.life !== inventory.life) return false;
    const there = inventory.at(known.index);
    const { outer } = known.links;
    if (there?.isUp !== true || there.hostLink !== outer.name) return false;
    const tag = parseTrunkTag(owner, there.text);
    return tag !== undefined && isSameTrunk(tag, known) && tag.link === outer.index;
  }

  async #make({ frames, lane }: TrunkId, budget: Budget): Promise<Trunk> {
    const { inventory } = this.#setup;
    await inventory.ready(budget);
    const { life } = inventory;
    const id = { frames, lane };
    const links = await this.#links.make(id, budget);
    const index = await this.#host(id, links.outer, budget);
    const trunk = { ...id, index, links, life };
    this.#trunks.set(keyOf(id), trunk);
    return trunk;
  }

  /** VPP's part; a host interface over a link that was made anew since is of no use, and holds the name. */
  async #host(id: TrunkId, outer: Link, budget: Budget): Promise<number> {
    const { vpp, inventory, owner } = this.#setup;
    const there = inventory.all().find(({ hostLink }) => hostLink === outer.name);
    const text = trunkTag(owner, { ...id, link: outer.index });
    const tag = parseTrunkTag(owner, there?.text ?? '');
    const isIt = tag !== undefined && isSameTrunk(tag, id) && tag.link === outer.index;
    if (there !== undefined && isIt) {
      await this.#setUp(there, budget);
      return there.index;
    }
    if (there !== undefined) await this.#drop(there, budget);
    const { frameBytes, framesPerRing } = frameClassAt(id.frames);
    const askedAt = inventory.asking();
    const { sw_if_index: index } = await vpp.request(
      'af_packet_create_v3',
      {
        mode: afPacketMode.ethernet,
        hw_addr: parseMac(outer.macAddress),
        use_random_hw_addr: false,
        host_if_name: outer.name,
        rx_frame_size: frameBytes,
        tx_frame_size: frameBytes,
        rx_frames_per_block: framesPerRing * ringsOfEnds,
        tx_frames_per_block: framesPerRing,
        num_rx_queues: 1,
        num_tx_queues: 1,
        flags: afPacketFlags.version2 | afPacketFlags.qdiscBypass,
      },
      budget,
    );
    const name = hostInterfaceName(outer.name);
    const made = { index, name, text, isUp: false, hostLink: outer.name };
    const tagging = { is_add: true, sw_if_index: index, tag: text };
    await vpp.request('sw_interface_tag_add_del', tagging, budget);
    inventory.seen(askedAt, index, made);
    await this.#setUp(made, budget);
    return index;
  }

  async #setUp({ index }: FoundEnd, budget: Budget): Promise<void> {
    const { vpp, inventory } = this.#setup;
    const there = inventory.at(index);
    if (there === undefined || there.isUp) return;
    const askedAt = inventory.asking();
    const fields = { sw_if_index: index, flags: interfaceFlags.adminUp };
    await vpp.request('sw_interface_set_flags', fields, budget);
    inventory.seen(askedAt, index, { ...there, isUp: true });
  }

  /** Its sub-interfaces go with it. */
  async #drop({ index, hostLink = '' }: FoundEnd, budget: Budget): Promise<void> {
    const { vpp, inventory } = this.#setup;
    const askedAt = inventory.asking();
    await vpp.request('af_packet_delete', { host_if_name: hostLink }, budget);
    for (const each of inventory.all()) {
      if (each.index !== index && each.branch?.trunk !== index) continue;
      inventory.seen(askedAt, each.index, undefined);
      inventory.joined(askedAt, each.index, undefined);
    }
  }
}
