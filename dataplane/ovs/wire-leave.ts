// Taking wires out of the switch: flows first, so that nothing passes half a wire, then ports and tunnels.
// Invariant: a switch that is away holds nothing up: it has no flows, and drops the ports when it comes back.

import type { Budget } from '../../protocols/ports/dataplane.ts';
import { deleteFlowsByCookie } from '../../protocols/ovs/flow-builders.ts';
import { dropPortsNamed, leaveTunnels } from './drop-parts.ts';
import { tagVersionOf, wireCookie } from './tags.ts';
import { versionsOf } from './wire-join.ts';
import type { Joinery } from './wire-parts.ts';

/** The switch forwards nothing while it takes their ports away. */
const wiresInOneChange = 4;

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
  const configuration = await joinery.shared.hold([...new Set(tunnels)], async () => {
    let last = 0;
    for (let start = 0; start < leaving.length; start += wiresInOneChange) {
      const some = leaving.slice(start, start + wiresInOneChange);
      const ports = some.flatMap((id) => rows.of(id).ports.map(({ name }) => name));
      const uses = some.flatMap((id) => rows.of(id).tunnels);
      const operations = [...leaveTunnels(joinery, uses), ...dropPortsNamed(joinery, ports)];
      last = Math.max(last, await bridge.begin(operations, budget));
    }
    return last;
  });
  if (isThere) await bridge.applied(configuration, budget);
}
