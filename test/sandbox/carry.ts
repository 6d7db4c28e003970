// Traffic in a simulated world: packets through every wire of a node, counted at both of its ends.

import type {
  SimulatedSide,
  SimulatedWire,
  SimulatedWorld,
} from '../../dataplane/simulated/simulated-world.ts';
import type { WireCounters } from '../../protocols/ports/dataplane.ts';

export interface Carried {
  readonly fromClient: bigint;
  readonly fromEndpoint: bigint;
}

/** Of the wires of every owner that `SimulatedWorld` knows. */
export function carry(world: SimulatedWorld, { fromClient, fromEndpoint }: Carried): void {
  world.changeWires((wire) => ({
    ...wire,
    counters: {
      client: counted(wire, 'client', { sent: fromClient, received: fromEndpoint }),
      endpoint: counted(wire, 'endpoint', { sent: fromEndpoint, received: fromClient }),
    },
  }));
}

function counted(
  { counters }: SimulatedWire,
  side: SimulatedSide,
  { sent, received }: { readonly sent: bigint; readonly received: bigint },
): WireCounters {
  const { rxBytes, txBytes, rxPackets, txPackets, drops } = counters[side] ?? none;
  return {
    rxBytes: rxBytes + 100n * received,
    txBytes: txBytes + 100n * sent,
    rxPackets: rxPackets + received,
    txPackets: txPackets + sent,
    drops,
  };
}

const none: WireCounters = { rxBytes: 0n, txBytes: 0n, rxPackets: 0n, txPackets: 0n, drops: 0n };
