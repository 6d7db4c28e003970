// Protects the promise that a node of the reference and one of ours form one mesh: managers find each other through one
// registry, the forwarders agree on a VXLAN tunnel, and a wire over both nodes lives as one on a single node does.
// Whether the kernel or Open vSwitch carries our end makes no difference. Skipped, with the reason printed, where a
// binary is not named or the machine lacks what a chain needs.

import { type Combination, describeChain } from './chain-life.ts';
import { type Position, positionsOverTwo } from './positions.ts';

/** What runs on the node of the client, and of the Endpoint. */
const near: readonly Position[] = ['nsmgr', 'forwarder', 'nsc'];
const far: readonly Position[] = ['far-nsmgr', 'far-forwarder', 'nse'];

const combinations: readonly Combination[] = [
  { title: 'ours on both nodes, one end in Open vSwitch', go: [], onOvs: ['far-forwarder'] },
  { title: "Go on the client's node, ours on the Endpoint's", go: near },
  {
    title: "Go on the client's node, ours in Open vSwitch on the Endpoint's",
    go: near,
    onOvs: ['far-forwarder'],
  },
  { title: "ours on the client's node, Go on the Endpoint's", go: far },
  {
    title: "ours in Open vSwitch on the client's node, Go on the Endpoint's",
    go: far,
    onOvs: ['forwarder'],
  },
  { title: "Go's forwarder alone, on the client's node", go: ['forwarder'] },
  { title: "Go's forwarder alone, on the Endpoint's node", go: ['far-forwarder'] },
  { title: "Go's managers alone, on both nodes", go: ['nsmgr', 'far-nsmgr'] },
  { title: 'Go on both nodes and at the registry', go: positionsOverTwo },
];

for (const combination of combinations) {
  describeChain({ ...combination, title: `${combination.title}, over two nodes`, isOverTwo: true });
}
