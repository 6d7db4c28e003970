// Taking wires out of the switch: flows first, so that nothing passes half a wire, then ports and tunnels.
// Invariant: a switch that is away holds nothing up: it has no flows, and drops the ports when it comes back.

import type { Budget } from '../../protocols/ports/dataplane.ts';
import { deleteFlowsByCookie } from '../../protocols/ovs/flow-builders.ts';
import { dropPortsNamed, leaveTunnels } from './drop-parts.ts';
import { tagVersionOf, wireCookie } from './tags.ts';
import { versionsOf } from './wire-join.ts';
import type { Joinery } from './wire-parts.ts';

export async function leaveWires(
  joinery: Joinery,
  ids: readonly string[],
  budget: Budget,
): Promise<void> {
  const { rows, owner, switch: bridge } = joinery;
  const at = await bridge.addressIfAny(budget);
  if (at === undefined) return;
  // What a later version made is left alone.
  const leaving = ids.filter((id) =>
    versionsOf(rows.of(id)).every((version) => version <= tagVersionOf(owner)),
  );
  const isThere = await bridge.isThere(budget);
  if (isThere) {
    await bridge.commit(
      leaving.map((id) => deleteFlowsByCookie(wireCookie(owner, id))),
      budget,
    );
  }
  const tunnels = leaving.flatMap((id) => rows.of(id).tunnels.map(({ row }) => row.name));
  const configuration = await joinery.shared.hold([...new Set(tunnels)], () => {
    const ports = leaving.flatMap((id) => rows.of(id).ports.map(({ name }) => name));
    const uses = leaving.flatMap((id) => rows.of(id).tunnels);
    return bridge.begin(
      [...leaveTunnels(joinery, uses), ...dropPortsNamed(joinery, ports)],
      budget,
    );
  });
  if (isThere) await bridge.applied(configuration, budget);
}
