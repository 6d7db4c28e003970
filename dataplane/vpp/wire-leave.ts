// Taking wires out of VPP.
// Invariant: a VPP that is away holds nothing up: it has lost everything, and should it not have, the wires are taken
// out when it is back.

import type { Budget } from '../../protocols/ports/dataplane.ts';
import { asNsmError } from '../../protocols/errors.ts';
import { dropProfilesOf } from './ike-profiles.ts';
import { tagVersionOf } from './tags.ts';
import { endsOfWire, type Joinery, versionsOf } from './wire-join.ts';

/** A VPP that is there has answered long before. */
const greetingTimeoutMs = 2_000;

/** False while VPP is away. */
export async function isThere({ inventory }: Joinery, { timeoutMs }: Budget): Promise<boolean> {
  try {
    await inventory.ready({ timeoutMs: Math.min(timeoutMs, greetingTimeoutMs) });
    return true;
  } catch (error) {
    const { code } = asNsmError(error);
    if (code === 'DEADLINE_EXCEEDED' || code === 'UNAVAILABLE') return false;
    throw error;
  }
}

export async function leaveWires(
  joinery: Joinery,
  ids: readonly string[],
  budget: Budget,
): Promise<void> {
  const { inventory, owner, operations, ike } = joinery;
  await Promise.all(ids.map((id) => inventory.lookAt(id, budget)));
  // What a later version made is left alone.
  const leaving = ids.filter((id) =>
    versionsOf(inventory.of(id)).every((version) => version <= tagVersionOf(owner)),
  );
  const ends = leaving.flatMap((id) => endsOfWire(inventory, owner, id));
  await Promise.all([...new Set(ends)].map((end) => operations.drop(end, budget)));
  if (ike !== undefined) await dropProfilesOf(joinery, leaving, budget);
}
