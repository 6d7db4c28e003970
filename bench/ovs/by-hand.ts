// What vwire does for a wire, done by Open vSwitch's own command line tools: one process for all ports, one for all flows,
// each until the switch has applied it.

import type { NodeLink } from '../../protocols/ports/wire-ends.ts';
import type { VendorTools } from './vendor-tools.ts';

export const handBridge = 'br-hand';
export const handSettings = ['datapath_type=netdev', 'fail_mode=secure'] as const;

export interface HandWire {
  /** Tells its port numbers from those of others. */
  readonly number: number;
  readonly pair: readonly NodeLink[];
}

export function joinByHand(tools: VendorTools, wires: readonly HandWire[]): void {
  addPortsByHand(tools, wires);
  tools.ofctl(addFlowsArguments, flowsOf(wires));
}

export function addPortsByHand(tools: VendorTools, wires: readonly HandWire[]): void {
  const port = ({ name }: NodeLink, request: number): string[] => {
    const setting = `ofport_request=${request}`;
    return ['--', 'add-port', handBridge, name, '--', 'set', 'interface', name, setting];
  };
  tools.vsctl(
    ...wires.flatMap((wire) =>
      wire.pair.flatMap((link, end) => port(link, numbersOf(wire)[end] ?? 0)),
    ),
  );
}

/** All that the bridge has. */
export function partByHand(tools: VendorTools, wires: readonly HandWire[]): void {
  const names = wires.flatMap(({ pair }) => pair.map(({ name }) => name));
  tools.ofctl(['del-flows', handBridge]);
  tools.vsctl(...names.flatMap((name) => ['--', 'del-port', handBridge, name]));
}

export const addFlowsArguments = ['--bundle', 'add-flows', handBridge, '-'] as const;

/** As `ovs-ofctl add-flows` reads them. */
export function flowsOf(wires: readonly HandWire[]): string {
  const flows = wires
    .map(numbersOf)
    .flatMap(([first, second]) => [
      `priority=100,in_port=${first},actions=output:${second}`,
      `priority=100,in_port=${second},actions=output:${first}`,
    ]);
  return `${flows.join('\n')}\n`;
}

const numbersOf = ({ number }: HandWire) => [number * 2 + 1, number * 2 + 2] as const;
