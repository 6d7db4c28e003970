// One fault that a test plans: the step with this number, counted over everything that a driver does from now on, fails,
// or is where its process is killed.

import { NsmError } from '../../protocols/errors.ts';
import type { OpenFlow, Ovsdb } from '../../protocols/ports/ovs.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';

export interface PlannedFaults {
  /** The step fails; the driver undoes what it did. */
  failAt(position: number): void;
  /** Everything before this step happens, nothing after, nothing is undone: as when the process is killed. */
  crashAt(position: number): void;
  readonly hasStruck: boolean;
  heal(): void;
  /** To be asked before `count` steps: the fault and at which of them it strikes. Throws once the process is dead. */
  before(count: number): { readonly kind: 'fail' | 'crash'; readonly position: number } | undefined;
}

export function createPlannedFaults(): PlannedFaults {
  let plan: { kind: 'fail' | 'crash'; left: number } | undefined;
  let hasStruck = false;
  const start = (kind: 'fail' | 'crash', left: number) => {
    plan = { kind, left };
    hasStruck = false;
  };
  return {
    failAt: (position) => start('fail', position),
    crashAt: (position) => start('crash', position),
    get hasStruck() {
      return hasStruck;
    },
    heal() {
      plan = undefined;
    },
    before(count) {
      if (plan === undefined) return undefined;
      if (hasStruck) {
        if (plan.kind === 'crash') throw killed();
        return undefined;
      }
      if (plan.left >= count) {
        plan.left -= count;
        return undefined;
      }
      hasStruck = true;
      return { kind: plan.kind, position: plan.left };
    },
  };
}

export function killed(): NsmError {
  return new NsmError('UNAVAILABLE', 'the process was killed, as planned');
}

/** A transaction is one step. */
export function faultyOvsdb(inner: Ovsdb, faults: PlannedFaults): Ovsdb {
  return {
    monitor: (tables, listener) => inner.monitor(tables, listener),
    schema: (budget) => inner.schema(budget),
    close: () => inner.close(),
    async transact(operations, budget) {
      strike(faults);
      return inner.transact(operations, budget);
    },
  };
}

/** A change of flows is one step. */
export function faultyOpenFlow(inner: OpenFlow, faults: PlannedFaults): OpenFlow {
  return {
    async program(mods, budget) {
      strike(faults);
      return inner.program(mods, budget);
    },
    flows: (filter, budget) => inner.flows(filter, budget),
    flowSums: (filter, budget) => inner.flowSums(filter, budget),
    ports: (budget) => inner.ports(budget),
    portStatistics: (budget) => inner.portStatistics(budget),
    description: (budget) => inner.description(budget),
    features: (budget) => inner.features(budget),
    barrier: (budget) => inner.barrier(budget),
    watch: (listener) => inner.watch(listener),
    close: () => inner.close(),
    async commit(mods, budget) {
      strike(faults);
      return inner.commit(mods, budget);
    },
  };
}

/** A request that changes something is one step. */
export function faultyVpp(inner: Vpp, faults: PlannedFaults): Vpp {
  return {
    read: (name, fields, budget) => inner.read(name, fields, budget),
    dump: (name, fields, budget) => inner.dump(name, fields, budget),
    stream: (name, fields, budget) => inner.stream(name, fields, budget),
    subscribe: (subscription, listener) => inner.subscribe(subscription, listener),
    unusable: (names, budget) => inner.unusable(names, budget),
    watch: (listener) => inner.watch(listener),
    close: () => inner.close(),
    async request(name, fields, budget) {
      strike(faults);
      return inner.request(name, fields, budget);
    },
  };
}

function strike(faults: PlannedFaults): void {
  const fault = faults.before(1);
  if (fault?.kind === 'crash') throw killed();
  if (fault?.kind === 'fail') throw new NsmError('ABORTED', 'it failed, as planned');
}
