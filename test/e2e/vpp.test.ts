// Protects wires over VPP, with real VPPs and nothing mocked: what ./switched-wires.ts says.

import { describe, expect } from 'vitest';

import { allOnes } from '../../protocols/vpp/messages/enums.ts';
import type { PrivateVpp } from '../../transports/process/private-vpp.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import { createVppClient } from '../../transports/vpp-api-client/vpp-api-client.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import { switchedWires } from './switched-wires.ts';

const budget = { timeoutMs: 10_000 };

function vppOf({ vpps, nodes }: TestMesh, node: 0 | 1): PrivateVpp {
  const found = vpps.byNode.get(nodes[node].name);
  if (found === undefined) expect.fail('the node has no VPP');
  return found;
}

/** Names of the interfaces that wires have on a node. */
async function interfacesIn(mesh: TestMesh, node: 0 | 1): Promise<string[]> {
  const vpp = createVppClient({ socketPath: vppOf(mesh, node).apiSocket, host: unixHost });
  try {
    const found = await vpp.dump('sw_interface_dump', { sw_if_index: allOnes }, budget);
    return found
      .map(({ interface_name: name }) => name)
      .filter((name) => /^(host-vw|host-vt\w+\.|vxlan_tunnel|wg\d|ipsec\d)/.test(name));
  } finally {
    await vpp.close();
  }
}

async function restart(mesh: TestMesh): Promise<void> {
  await vppOf(mesh, 0).signal('SIGKILL');
  await vppOf(mesh, 0).start();
}

const tunnels = { WIREGUARD: /^wg\d/, IPSEC: /^ipsec\d/, VXLAN: /^vxlan_tunnel/ } as const;

describe.each(['WIREGUARD', 'IPSEC', 'VXLAN'] as const)(
  'with %s between the nodes',
  (mechanism) => {
    describeMesh(
      'wires over VPP',
      (mesh) => switchedWires(mesh, { restart, portsOf: interfacesIn, tunnel: tunnels[mechanism] }),
      { withVpp: true, env: { NSM_MECHANISM_PRIORITY: mechanism } },
    );
  },
);
