// A node lost, and a node cut off for half a minute.

import type { ChaosCase } from '../case.ts';
import { monotonicMs } from '../probe.ts';
import { sleep } from '../round.ts';
import { nodeOf } from './wires.ts';

const partitionMs = 30_000;

/** Every process of the node and of its Endpoint is killed, and its port pulled. */
export const nodeLost: ChaosCase = {
  name: 'node-lost',
  title: "the Endpoint's node lost: processes killed, underlay cut; another Endpoint elsewhere",
  windowMs: 5_000,
  bound: { restored: { worst: 1_500 }, addressesMayChange: true },
  isFreshEachRound: true,
  async setUp(scene) {
    const wire = await scene.addWire({ service: 'remote', endpointNode: nodeOf(scene, 2) });
    await scene.addEndpoint(nodeOf(scene, 1), wire.service);
  },
  async fault(scene) {
    const { underlay, mesh } = scene.stage;
    const node = nodeOf(scene, 2);
    const victims = scene.endpoints.filter(({ workload }) => workload.node === node);
    const faultMs = monotonicMs();
    mesh.processes.get(node.name)?.kill('SIGKILL');
    for (const part of scene.stage.parts) {
      if (part.name.startsWith(`${node.name}/`)) part.signal('SIGKILL');
    }
    await Promise.all([underlay.cut(node), ...victims.map((each) => each.kill())]);
    return faultMs;
  },
  async restore(scene) {
    const { underlay, mesh } = scene.stage;
    const node = nodeOf(scene, 2);
    await underlay.join(node);
    await mesh.startNode(node);
  },
};

export const partitioned: ChaosCase = {
  name: 'partition',
  title: `underlay of the Endpoint's node cut for ${partitionMs / 1_000} s and joined`,
  windowMs: partitionMs + 5_000,
  bound: { restored: { worst: 500 } },
  async setUp(scene) {
    await scene.addWire({ service: 'remote', endpointNode: nodeOf(scene, 2) });
  },
  async fault(scene) {
    const { underlay } = scene.stage;
    const node = nodeOf(scene, 2);
    await underlay.cut(node);
    await sleep(partitionMs);
    const joinedMs = monotonicMs();
    await underlay.join(node);
    return joinedMs;
  },
};
