// What this machine's Open vSwitch can do, found out by making the forwarder's bridge and asking it.

import type { Budget, DataplaneCapabilities } from '../../protocols/ports/dataplane.ts';
import { asNsmError } from '../../protocols/errors.ts';
import type { WireEnds } from '../../protocols/ports/wire-ends.ts';
import type { Joinery } from './wire-parts.ts';

/** What this driver makes none of, on any machine. */
export const unmadeLines: readonly string[] = [
  'WIREGUARD: Open vSwitch has no such tunnels; wires to other nodes are not encrypted',
  'IPSEC: keys of tunnels are not agreed on for Open vSwitch; wires to other nodes are not encrypted',
  'MEMIF: Open vSwitch takes no shared memory of workloads; they get interfaces of the kernel',
];

/** Errors: those of the sockets, and FAILED_PRECONDITION for a bridge that is somebody else's. */
export async function probeSwitch(
  joinery: Joinery,
  ends: WireEnds,
  budget: Budget,
): Promise<DataplaneCapabilities> {
  const bridge = joinery.switch;
  const ofKernel = await ends.probe(budget);
  const missing = [...ofKernel.missing, ...unmadeLines];
  try {
    await bridge.address(budget);
  } catch (error) {
    if (bridge.problem === undefined) throw asNsmError(error);
    return {
      mechanisms: [],
      missing: [...missing, `bridge: ${bridge.problem}; no wire can be made`],
    };
  }
  await bridge.flows(budget);
  if (bridge.datapathType === 'netdev') {
    missing.push(
      'the kernel datapath (module openvswitch): packets go through user space, workloads compute their ' +
        'checksums, and the tunnel address belongs on a netdev bridge that holds the underlay',
    );
  }
  return {
    mechanisms:
      ofKernel.mechanisms.length > 0
        ? ['KERNEL', 'VXLAN', ...(joinery.networks.size > 0 ? ['VLAN'] : [])]
        : [],
    missing,
  };
}
