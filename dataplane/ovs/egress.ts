// The networks outside of the mesh that a node is in, each a bridge that learns: the connection's label `via` names one,
// and a patch from the forwarder's bridge makes a wire's end an access port of a VLAN there. NSM concept: the L2
// connection points of forwarder-ovs.
// Invariant: of a bridge that others made only the far ends of own patches are this forwarder's.

import { NsmError } from '../../protocols/errors.ts';
import { networkNamed } from '../../protocols/nsm/egress-networks.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { WireLocks } from '../../protocols/wire-locks.ts';
import { addBridge, addUplink } from './port-operations.ts';
import type { Switch } from './switch.ts';
import type { SwitchRows } from './switch-rows.ts';
import type { Owner } from './tags.ts';
import { tagVersionOf } from './tags.ts';

export interface EgressNetwork {
  readonly bridge: string;
  /** Put on the bridge, which is made where it is missing. Absent: the bridge is somebody else's and there. */
  readonly interfaceName?: string;
}

/** By the value of the label `via`. */
export type EgressNetworks = ReadonlyMap<string, EgressNetwork>;

export interface EgressSetup {
  readonly owner: Owner;
  readonly switch: Switch;
  readonly rows: SwitchRows;
  readonly networks: EgressNetworks;
  readonly locks: WireLocks;
}

/** Identity of the bridge. Errors: NOT_FOUND (no such network), FAILED_PRECONDITION (bridge), both with rule `via`. */
export async function egressBridge(
  setup: EgressSetup,
  via: string,
  budget: Budget,
): Promise<string> {
  const network = networkNamed(setup.networks, via, 'NSM_L2_RESOURCE_SELECTOR_FILE');
  const { bridge: name } = network;
  return setup.locks.hold([name], async () => {
    await makeNetwork(setup, network, budget);
    const found = setup.rows.bridgeNamed(name);
    if (found === undefined) throw unusable(name, 'no bridge of that name');
    const isInUserSpace = found.datapathType === 'netdev';
    if (isInUserSpace !== (setup.switch.datapathType === 'netdev')) {
      throw unusable(name, `another datapath: ${found.datapathType || 'system'}`);
    }
    return found.uuid;
  });
}

async function makeNetwork(
  { owner, switch: own, rows }: EgressSetup,
  { bridge: name, interfaceName }: EgressNetwork,
  budget: Budget,
): Promise<void> {
  if (interfaceName === undefined) return;
  if (rows.bridgeNamed(name) === undefined) {
    const { datapathType } = own;
    const version = tagVersionOf(owner);
    const made = { name, datapathType, owner, version, failMode: 'standalone' } as const;
    await own.apply(addBridge(made), budget);
  }
  const bridge = rows.bridgeNamed(name)?.uuid;
  if (bridge === undefined || rows.portId(interfaceName) !== undefined) return;
  await own.apply(addUplink({ owner, bridge }, interfaceName), budget);
}

function unusable(bridge: string, found: string): NsmError {
  return new NsmError('FAILED_PRECONDITION', `bridge ${bridge} cannot be used`, {
    rule: 'via',
    expected: "a bridge with the datapath of this forwarder's own",
    found,
    remedy: 'make it, or name an interface for it in NSM_L2_RESOURCE_SELECTOR_FILE',
  });
}
