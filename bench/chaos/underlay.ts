// The network between the nodes of a chaos run: one switch, in the namespace where bus and registry run, and a port
// for each node. Pulling a port is what a node that is lost, or a partition, looks like to everybody else.

import { NsmError } from '../../protocols/errors.ts';
import { addAddress } from '../../protocols/netlink/address.ts';
import { parsePrefix } from '../../protocols/netlink/ip-address.ts';
import {
  changeLink,
  changeLinkByName,
  createBridge,
  createVeth,
  getLinkByName,
} from '../../protocols/netlink/link.ts';
import type { Netlink, NetlinkRequest } from '../../protocols/ports/netlink.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import type { MeshNode } from '../../bin/demo/mesh.ts';

const budget = { timeoutMs: 10_000 };
const mtu = 1500;
const switchName = 'switch';
const nodePort = 'underlay';

export interface Underlay {
  cut(node: MeshNode): Promise<void>;
  join(node: MeshNode): Promise<void>;
}

export async function createUnderlay(
  netlink: Netlink,
  hub: MeshNode,
  nodes: readonly MeshNode[],
): Promise<Underlay> {
  const portOf = (node: MeshNode): string => `port-${nodes.indexOf(node) + 1}`;
  await program(netlink, hub.namespace, [
    { message: createBridge({ name: switchName, group: 0 }), what: 'create the switch' },
  ]);
  await bringUp(netlink, hub.namespace, switchName, hub.tunnelIp);
  for (const node of nodes) {
    const namespaceDescriptor = { namespaceDescriptor: node.namespace.url };
    const peer = { name: nodePort, namespaceDescriptor };
    const name = portOf(node);
    await program(netlink, hub.namespace, [
      { message: createVeth({ name, group: 0, mtu, peer }), what: `create ${name}` },
      found(switchName, 'switch'),
      found(name, 'port'),
      {
        message: changeLink({
          index: { register: 'port' },
          master: { register: 'switch' },
          isUp: true,
        }),
        what: `put ${name} on the switch`,
      },
    ]);
    await bringUp(netlink, node.namespace, nodePort, node.tunnelIp);
  }
  const setPort = (node: MeshNode, isUp: boolean): Promise<void> => {
    const message = changeLinkByName(portOf(node), { isUp });
    return program(netlink, hub.namespace, [{ message, what: `set ${portOf(node)}` }]);
  };
  return { cut: (node) => setPort(node, false), join: (node) => setPort(node, true) };
}

const found = (name: string, register: string): NetlinkRequest => ({
  message: getLinkByName(name),
  what: `find ${name}`,
  store: { register, offset: 4 },
});

async function bringUp(
  netlink: Netlink,
  namespace: NetworkNamespace,
  name: string,
  ip: string,
): Promise<void> {
  const index = { register: 'link' };
  await program(netlink, namespace, [
    found(name, 'link'),
    { message: changeLink({ index, isUp: true }), what: `set ${name} up` },
    { message: addAddress(index, parsePrefix(`${ip}/24`)), what: `add ${ip} to ${name}` },
  ]);
}

/** Runs requests in a namespace. */
export async function program(
  netlink: Netlink,
  namespace: NetworkNamespace,
  requests: readonly NetlinkRequest[],
): Promise<void> {
  const step = { namespace: namespace.url, protocol: 'route', requests } as const;
  const outcome = await netlink.execute([step], budget);
  if (outcome.ok) return;
  const { what, found: why, code } = outcome.failure;
  throw new NsmError(code, `could not ${what}`, { found: why });
}
