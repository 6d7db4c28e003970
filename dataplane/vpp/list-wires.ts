// What `list` says: one line for each wire that has an end in the kernel, or an interface in VPP.

import type { Budget, ObservedWire } from '../../protocols/ports/dataplane.ts';
import type { ObservedEnds, WireEnds } from '../../protocols/ports/wire-ends.ts';
import { tagVersionOf } from './tags.ts';
import { endsOfWire, type Joinery, versionsOf } from './wire-join.ts';
import { missingInVpp, type SeenInVpp } from './wire-judgement.ts';

export async function listWires(
  joinery: Joinery,
  ends: WireEnds,
  budget: Budget,
): Promise<ObservedWire[]> {
  const { inventory, trunks, vlans } = joinery;
  await inventory.look(budget);
  // What cannot be put right now may be by the next look at everything; the wires' ends are none the worse for it.
  await joinery.uplink.restore(budget).catch(() => {});
  await trunks.mend(budget).catch(() => {});
  await vlans.mend(budget).catch(() => {});
  await vlans.release(budget).catch(() => {});
  const unattached = await trunks.unattached(inventory.all(), budget);
  const cutOff = await vlans.cutOff(inventory.all(), budget);
  const ofKernel = new Map((await ends.list(budget)).map((each) => [each.id, each]));
  const ids = new Set([...ofKernel.keys(), ...inventory.wireIds()]);
  if (ids.size === 0) await trunks.release(budget).catch(() => {});
  return [...ids].map((id) => observed({ ...joinery, unattached, cutOff }, id, ofKernel.get(id)));
}

function observed(
  { inventory, owner, ...seen }: Joinery & Pick<SeenInVpp, 'unattached' | 'cutOff'>,
  id: string,
  ends: ObservedEnds | undefined,
): ObservedWire {
  const links = ends?.links ?? {};
  const own = endsOfWire(inventory, owner, id);
  const versions = [...versionsOf(own), ...(ends === undefined ? [] : [ends.version])];
  const objects = [...(ends?.objects ?? []), ...own.map(({ name }) => name)];
  const latest = Math.max(...versions);
  if (ends?.readable === false || latest > tagVersionOf(owner)) {
    const missing = ['a later version of vwire made it'];
    return { id, version: latest, complete: false, missing, readable: false, objects };
  }
  const jointOf = (index: number) => inventory.jointOf(index);
  const inVpp = missingInVpp({ ...seen, ends: own, jointOf, links });
  const missing = [...(ends?.missing ?? []), ...inVpp];
  const version = Math.min(...versions);
  return { id, version, complete: missing.length === 0, missing, readable: true, objects };
}
