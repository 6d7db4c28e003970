// The wires that most cases put under load: one to an Endpoint on the client's own node, one to an Endpoint on
// another node, and the names by which cases speak of nodes.

import type { MeshNode } from '../../../bin/demo/mesh.ts';
import type { Scene } from '../scene.ts';

export function nodeOf(scene: Scene, number: 1 | 2 | 3): MeshNode {
  const node = scene.stage.nodes[number - 1];
  if (node === undefined) throw new Error(`the stage has no node ${number}`);
  return node;
}

export async function localAndRemote(scene: Scene): Promise<void> {
  await scene.addWire({ service: 'local', endpointNode: nodeOf(scene, 1) });
  await scene.addWire({ service: 'remote', endpointNode: nodeOf(scene, 2) });
}
