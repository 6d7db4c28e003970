// A thousand wires on one node over Open vSwitch, ends in the kernel included: made at once, taken over by a forwarder that
// started again, and removed at once.

import type { Wire } from '../../protocols/ports/dataplane.ts';
import type { Sandbox } from '../../test/sandbox/namespaces.ts';
import { localWire } from '../../test/sandbox/wires.ts';
import { type Figure, judge, type Progress } from '../figure.ts';
import { type Stage, suite } from './stage.ts';
import { wholeDriver } from './tcp.ts';

const wireCount = 1_000;
/** As workloads of a node: some have many. */
const wiresPerNamespace = 50;
const budget = { timeoutMs: 180_000 };

export async function thousandWires(stage: Stage, progress: Progress): Promise<readonly Figure[]> {
  const wires = wiresIn(stage.sandbox);
  const first = wholeDriver(stage, 'br-many');
  await first.probe(budget);
  const figure = async (what: string, action: (wire: Wire) => Promise<void>, note?: string) => {
    const name = `wires ${what}, ${wireCount.toLocaleString('en')} at once`;
    progress(name);
    const startMs = performance.now();
    await Promise.all(wires.map(action));
    const value = (wireCount * 1_000) / (performance.now() - startMs);
    return judge({ suite, name, value, unit: 'per s', ...(note && { note }) });
  };
  const made = await figure('set up', (wire) => first.ensure(wire, budget));
  // As one of a forwarder that has just started.
  const restarted = wholeDriver(stage, 'br-many');
  await restarted.probe(budget);
  const adopted = await figure('taken over', (wire) => restarted.ensure(wire, budget));
  const found = await restarted.list(budget);
  const complete = found.filter((each) => each.complete).length;
  if (complete !== wireCount) throw new Error(`${complete} of ${wireCount} wires are whole`);
  const removed = await figure(
    'removed',
    ({ id }) => restarted.remove([id], budget),
    'ovs-vswitchd closes a packet socket for each port, and the kernel lets it wait every time',
  );
  return [made, adopted, removed];
}

function wiresIn(sandbox: Sandbox): readonly Wire[] {
  const wires: Wire[] = [];
  while (wires.length < wireCount) {
    const places = { client: sandbox.namespace().url, endpoint: sandbox.namespace().url };
    for (let count = 0; count < wiresPerNamespace; count += 1) {
      wires.push(localWire(places, wires.length));
    }
  }
  return wires;
}
