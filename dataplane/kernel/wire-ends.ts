// The kernel's part of wires that a switch joins: the interfaces in workloads' namespaces and the node's side of them.

import type { Clock } from '../../protocols/ports/clock.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { EndsEvent, WireEnds } from '../../protocols/ports/wire-ends.ts';
import { createKernelWires } from './kernel.ts';
import type { Owner } from './owner.ts';

export interface WireEndsOptions extends Owner {
  /** Of the namespace that the switch is in. */
  readonly netlink: Netlink;
  readonly clock: Clock;
}

export function createWireEnds(options: WireEndsOptions): WireEnds {
  const listeners = new Set<(event: EndsEvent) => void>();
  const wires = createKernelWires({
    ...options,
    onHarmless(wireId) {
      for (const listener of listeners) listener({ kind: 'changed', wireId });
    },
  });
  return {
    async probe(budget) {
      const { missing } = await wires.probe(budget);
      // How the kernel would join them does not matter here.
      const concerned = missing.filter((line) => line.startsWith('veth'));
      return { mechanisms: concerned.length === 0 ? ['KERNEL'] : [], missing: concerned };
    },
    ensure: (wire, budget, joining) => wires.ensure(wire, budget, joining),
    remove: (ids, budget, { leave, namespaces }) => wires.remove(ids, budget, namespaces, leave),
    list: (budget) => wires.list(budget),
    inspect: (id, budget) => wires.inspectEnds(id, budget),
    statistics: (ids, budget) => wires.statistics(ids, budget),
    watch(listener) {
      const stop = wires.watch(listener);
      listeners.add(listener);
      return () => {
        stop();
        listeners.delete(listener);
      };
    },
    close: () => wires.close(),
  };
}
