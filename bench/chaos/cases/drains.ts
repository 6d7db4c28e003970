// Clients moved away from an Endpoint, and from a whole node, and back again: not one packet may be lost.

import { withMesh } from '../../../bin/inspect/mesh-client.ts';
import { eventually } from '../../../test/sandbox/eventually.ts';
import type { ChaosCase } from '../case.ts';
import type { Scene } from '../scene.ts';
import { nodeOf } from './wires.ts';

const windowMs = 8_000;
const movedTimeoutMs = 60_000;

const kinds = ['endpoint', 'node'] as const;

export const drainCases: readonly ChaosCase[] = kinds.map(
  (kind): ChaosCase => ({
    name: `drain-${kind}`,
    title: `${kind === 'node' ? 'node' : 'Endpoint'} drained, local to remote and back`,
    windowMs,
    bound: { lost: 0, addressesMayChange: true },
    async setUp(scene) {
      const wire = await scene.addWire({ service: 'drained', endpointNode: nodeOf(scene, 1) });
      await scene.addEndpoint(nodeOf(scene, 2), wire.service);
    },
    async fault(scene) {
      for (const _ of ['there', 'back']) await drainOnce(scene, kind);
      return undefined;
    },
  }),
);

/** Away from where the wire ends now; then that takes clients again. */
async function drainOnce(scene: Scene, kind: (typeof kinds)[number]): Promise<void> {
  const [wire] = scene.wires;
  if (wire === undefined) throw new Error('the case has a wire');
  const { name, workload } = scene.endpointOf(wire);
  const what =
    kind === 'node' ? { endpoint: '', node: workload.node.name } : { endpoint: name, node: '' };
  const asked = scene.stage.mesh.socketOf(nodeOf(scene, 1));
  await withMesh(asked, async (mesh) => {
    await eventually(`the client has left ${name}`, movedTimeoutMs, async () => {
      await mesh.drain({ ...what, undo: false });
      const report = wire.report();
      if (report?.event === 'established' && report.endpoint !== name) return;
      throw new Error(`found: ${report?.event} at ${report?.endpoint}`);
    });
    await mesh.drain({ ...what, undo: true });
  });
}
