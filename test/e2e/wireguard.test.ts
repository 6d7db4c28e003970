// Protects wires that WireGuard of the kernel carries between two nodes, in a mesh of real processes: what
// ./switched-wires.ts says of forwarders that are killed.

import { describe } from 'vitest';

import { linksOf } from '../../bin/demo/namespace-links.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import { whyNoWireguard } from '../sandbox/wireguard.ts';
import { switchedWires } from './switched-wires.ts';

const reason = await whyNoWireguard();
if (reason !== undefined) console.warn(`skipped, needs WireGuard in the kernel: ${reason}`);

/** Kinds and names of the links that wires have on a node. */
async function linksOfWires({ netlink, nodes }: TestMesh, node: 0 | 1): Promise<string[]> {
  const links = await linksOf(netlink, nodes[node].namespace.url);
  return links
    .filter(({ name }) => name.startsWith('vw'))
    .map(({ kind, name }) => `${kind} ${name}`);
}

describe.skipIf(reason !== undefined)(`with WireGuard between the nodes ${reason ?? ''}`, () => {
  describeMesh('wires over the kernel', (mesh) =>
    switchedWires(mesh, { portsOf: linksOfWires, tunnel: /^wireguard / }),
  );
});
