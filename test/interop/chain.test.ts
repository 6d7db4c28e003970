// Protects the promise that any position of a chain may be the reference's: with its Go binary there and ours
// elsewhere, and with ours there in a chain of Go, a client gets a wire that carries packets, refreshes it, gets it
// back when a neighbour or itself has crashed and started again, closes it, and nothing is left. Which hops are gRPC and
// which go over NATS makes no difference. Skipped, with the reason printed, where a binary is not named or namespaces
// cannot be made.

import { type Combination, describeChain } from './chain-life.ts';
import { positions, type Position } from './positions.ts';

const othersThan = (position: Position): readonly Position[] =>
  positions.filter((each) => each !== position);

const combinations: readonly Combination[] = [
  { title: 'ours everywhere', go: [] },
  ...positions.map((each) => ({ title: `Go at ${each}`, go: [each] })),
  ...positions.map((each) => ({ title: `ours at ${each}, else Go`, go: othersThan(each) })),
  { title: 'Go everywhere', go: positions },
  {
    title: 'ours, registry and forwarder over NATS',
    go: [],
    onBus: new Set(['registry', 'forwarder']),
  },
  {
    title: 'Go at nse and nsc, ours over NATS',
    go: ['nse', 'nsc'],
    onBus: new Set(['registry', 'forwarder']),
  },
];

for (const combination of combinations) describeChain(combination);
