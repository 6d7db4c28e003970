// What a wire over Open vSwitch costs, beside the same made with the switch's own tools in the same run: both ports and
// all flows of a wire until the switch has applied them, TCP through a wire, and what a switch that was killed needs
// until all wires are back. Everything happens in namespaces of its own, over switches with the datapath in user space,
// one for each part; needs root.

import { whyNoOvs } from '../../test/sandbox/ovs.ts';
import { type RunSuite, Skipped } from '../figure.ts';
import { whyNoIperf } from '../throughput/iperf.ts';
import { restarts } from './restart.ts';
import { onStage } from './stage.ts';
import { throughput } from './tcp.ts';
import { thousandWires } from './thousand-wires.ts';
import { whyNoVendorTools } from './vendor-tools.ts';
import { wholeWires } from './whole-wires.ts';

export const run: RunSuite = async (progress) => {
  const reason = whyNoOvs() ?? whyNoVendorTools() ?? whyNoIperf();
  if (reason !== undefined) throw new Skipped(reason);
  return [
    ...(await onStage((stage) => wholeWires(stage, progress))),
    ...(await onStage((stage) => throughput(stage, progress))),
    ...(await restarts(progress)),
    ...(await onStage((stage) => thousandWires(stage, progress))),
  ];
};
