// TCP through a wire by iperf3, beside the same made by hand with the switch's own tools; they take turns.

import { createWireEnds } from '../../dataplane/kernel/wire-ends.ts';
import { localWire, wireAddresses } from '../../test/sandbox/wires.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import type { Dataplane } from '../../protocols/ports/dataplane.ts';
import { type Figure, judge, median, type Progress } from '../figure.ts';
import { linksByHand } from '../node-links.ts';
import { tcpGigabits } from '../throughput/iperf.ts';
import { joinByHand } from './by-hand.ts';
import { budget, type Stage, suite } from './stage.ts';

const rounds = 9;
/** Above all others. */
const handNumber = 1_000;
const handAddresses = ['172.31.9.1', '172.31.9.2'] as const;

export async function throughput(stage: Stage, progress: Progress): Promise<readonly Figure[]> {
  const { sandbox, netlink, tools } = stage;
  const dataplane = wholeDriver(stage, 'br-wire');
  const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
  await dataplane.ensure(localWire({ client: client.url, endpoint: endpoint.url }, 1), budget);
  const [left, right] = [sandbox.namespace(), sandbox.namespace()];
  // Without checksums of the kernel's no stream would pass the switch.
  const pair = await linksByHand(netlink, [
    { namespace: left, address: handAddresses[0] },
    { namespace: right, address: handAddresses[1] },
  ]);
  joinByHand(tools, [{ number: handNumber, pair }]);
  const ways = [
    { from: client, to: endpoint, ip: wireAddresses(1).endpoint, gigabits: [] as number[] },
    { from: left, to: right, ip: handAddresses[1], gigabits: [] as number[] },
  ] as const;
  for (let round = 1; round <= rounds; round += 1) {
    progress(`iperf3 over a wire and by hand, round ${round} of ${rounds}`);
    for (const { from, to, ip, gigabits } of round % 2 === 0 ? ways : ways.toReversed()) {
      gigabits.push(await tcpGigabits(sandbox, from, to, ip));
    }
  }
  const [value, limitValue] = ways.map(({ gigabits }) => median(gigabits));
  const measured = {
    suite,
    name: 'iperf3 over a local wire',
    value: value ?? Number.NaN,
    unit: 'Gbit/s',
    limitName: 'the same by ovs-vsctl and ovs-ofctl',
    limitValue: limitValue ?? Number.NaN,
  };
  return [judge(measured, { of: 'ratio', atLeast: 0.95 })];
}

/** With ends in the kernel. */
export function wholeDriver(stage: Stage, bridge: string): Dataplane {
  const owner = { installation: 'bench', forwarder: bridge };
  const ends = createWireEnds({ netlink: stage.netlink, clock: systemClock, ...owner });
  return stage.dataplane(bridge, ends);
}
