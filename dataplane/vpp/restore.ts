// Puts everything back that a VPP which ended has lost. NSM concept: none; the reference's forwarder restarts with its
// VPP and waits for everybody to ask again.
// Invariants: a wire that is being changed is left to whoever changes it, and looked at afterwards; what cannot be put back
// is told.

import type { Budget, Wire } from '../../protocols/ports/dataplane.ts';
import type { NodeLinks } from '../../protocols/ports/wire-ends.ts';
import type { WireLocks } from '../../protocols/wire-locks.ts';
import { joinWire, type Joinery } from './wire-join.ts';
import { leaveWires } from './wire-leave.ts';

/** As last joined in this life of the process. */
export interface RememberedWire {
  readonly wire: Wire;
  readonly links: NodeLinks;
}

export interface RestoreSetup {
  readonly joinery: Joinery;
  readonly locks: WireLocks;
  readonly remembered: ReadonlyMap<string, RememberedWire>;
  /** Removed while VPP was away; emptied here. */
  readonly departed: Set<string>;
  readonly suspect: (id: string) => void;
}

/** So many wires at a time: the next ones' requests are with VPP while it answers those of the last. */
const wiresAtOnce = 16;

export async function restoreWires(setup: RestoreSetup, budget: Budget): Promise<void> {
  const { joinery, locks, remembered, departed, suspect } = setup;
  const { inventory, uplink, trunks } = joinery;
  await inventory.ready(budget);
  await uplink.restore(budget);
  // What it cannot do now the first wire that needs it tries again.
  await trunks.mend(budget).catch(() => {});
  const gone = [...departed].filter((id) => !remembered.has(id));
  departed.clear();
  await locks.hold(gone, () => leaveWires(joinery, gone, budget));
  const waiting = [...remembered.keys()];
  const { life } = inventory;
  const restoreNext = async (): Promise<void> => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
      // Another one has come up meanwhile, and another restore with it.
      if (inventory.life !== life) return;
      await restoreOne(setup, id, budget).catch(() => suspect(id ?? ''));
    }
  };
  await Promise.all(Array.from({ length: wiresAtOnce }, restoreNext));
}

async function restoreOne(setup: RestoreSetup, id: string, budget: Budget): Promise<void> {
  const { joinery, locks, remembered } = setup;
  await locks.hold([id], async () => {
    const known = remembered.get(id);
    if (known === undefined) return;
    const joining = () => joinWire(joinery, known.wire, known.links, budget);
    const joined = await joinery.trunks.during(joining);
    await joined.settle();
  });
}
