// Looking at what is in the kernel before an operation: everything at once, shared by all that ask before a look begins,
// so that many wires are adopted in few looks.

import type { Budget, Wire } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import {
  type Inventory,
  type KnownTags,
  observeWire,
  type OwnedLink,
  takeInventory,
} from './observe.ts';
import type { OwnerMarks } from './owner.ts';
import { laterVersionError } from './refusals.ts';
import type { Removals } from './removals.ts';
import { createSharedLooks } from './shared-looks.ts';
import { isJoinedByKernel, isOfSameClient, linksLeftFor } from './take-over.ts';
import type { CurrentWire } from './wire-state.ts';

export interface LooksSetup {
  readonly netlink: Netlink;
  readonly marks: OwnerMarks;
  readonly known: KnownTags;
  readonly removals: Removals;
  readonly isJoinedOutside: boolean;
  readonly wireguardFamily: () => number | undefined;
}

export interface Looks {
  inventory(budget: Budget): Promise<Inventory>;
  /** What is there, after what a crash left untagged has been removed. */
  clean(budget: Budget): Promise<Inventory>;
  /** As `clean`: the next look, whoever asked for it. */
  shared(budget: Budget): Promise<Inventory>;
  /** What of the wire is there. Errors: FAILED_PRECONDITION where a later version of vwire made it. */
  at(wire: Wire, budget: Budget): Promise<CurrentWire & { readonly isFresh: true }>;
}

export function createLooks(setup: LooksSetup): Looks {
  const { netlink, marks, known, removals, isJoinedOutside, wireguardFamily } = setup;
  const inventory: Looks['inventory'] = (budget) => takeInventory(netlink, marks, known, budget);

  const clean: Looks['clean'] = async (budget) => {
    const found = await inventory(budget);
    await removals.remove(
      found.halfMade.map(({ index }) => index),
      budget,
    );
    return found;
  };

  const atNode = createSharedLooks((_, budget) => clean(budget));
  const shared: Looks['shared'] = (budget) => atNode('', budget);

  /** What another forwarder left that the wire can go on with; what it cannot go on with makes way. */
  const leftFor = async (
    wire: Wire,
    found: Inventory,
    budget: Budget,
  ): Promise<readonly OwnedLink[]> => {
    const links = linksLeftFor(marks, wire, found);
    const context = { netlink, marks, wireguardFamily: wireguardFamily(), budget };
    if (links.length === 0 || !(await isOfSameClient(context, wire, links))) return [];
    if (!isJoinedOutside && (await isJoinedByKernel(context, links))) return links;
    await removals.remove(
      links.map(({ link }) => link.index),
      budget,
    );
    return [];
  };

  return {
    inventory,
    clean,
    shared,
    async at(wire, budget) {
      const found = await shared(budget);
      const [unreadable] = found.unreadable.get(wire.id) ?? [];
      if (unreadable !== undefined) {
        throw laterVersionError(wire.id, unreadable.tag.version, marks.tagVersion);
      }
      const context = { netlink, marks, wireguardFamily: wireguardFamily(), budget };
      const left = await leftFor(wire, found, budget);
      const observed = await observeWire(context, wire, { inventory: found, left });
      return { ...observed, isFresh: true };
    },
  };
}
