// A change of release, part after part, while the wires of the release before carry traffic: every mixture of the two on
// the way serves new wires, and what the one has left the other reads. The parts are processes of their own for this.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { formats } from '../../../protocols/formats.ts';
import { addressesOf } from '../../../test/sandbox/mesh-probes.ts';
import { Workloads } from '../../../test/sandbox/mesh-workloads.ts';
import type { ChaosCase } from '../case.ts';
import { taggedLinks } from '../damage.ts';
import type { Part } from '../parts.ts';
import type { Scene } from '../scene.ts';
import type { Release, Stage } from '../stage.ts';
import { localAndRemote, nodeOf } from './wires.ts';

const windowMs = 25_000;
const contentTimeoutMs = 30_000;
/** On one node the manager is of the new release first, on the other one the forwarder. */
const order = [
  'node-1/nsmgr',
  'node-1/forwarder',
  'registry',
  'node-2/forwarder',
  'node-2/nsmgr',
] as const;

function partOf(stage: Stage, name: string): Part {
  const part = stage.parts.find((each) => each.name === name);
  if (part === undefined) throw new Error(`the stage has no ${name}`);
  return part;
}

/** Every part is of that release and knows of nothing before it. */
async function install(stage: Stage, release: Release): Promise<void> {
  stage.mesh.executable = stage.executableOf(release);
  await stage.mesh.endAll(['node']);
  for (const { name } of stage.nodes) {
    rmSync(join(stage.stateDir, name), { recursive: true, force: true });
  }
  for (const name of order) await partOf(stage, name).restart();
}

/** Part after part, then Endpoints and clients; a wire that was made before is refreshed and closed at the end. */
async function change(scene: Scene, release: Release): Promise<void> {
  const { stage } = scene;
  const { mesh, stateDir, namespace } = stage;
  const workloads = new Workloads({ processes: mesh, stateDir, namespace });
  try {
    const caller = await workloads.caller(nodeOf(scene, 1));
    const held = [];
    for (const [at, { service }] of scene.wires.entries()) {
      const interfaceName = `held-${at}`;
      const known = await caller.request({ service, interfaceName });
      held.push({ service, interfaceName, known });
    }
    mesh.executable = stage.executableOf(release);
    for (const name of order) {
      await partOf(stage, name).restart();
      await scene.contented(contentTimeoutMs);
    }
    for (const endpoint of scene.endpoints) {
      await endpoint.kill();
      await endpoint.start();
    }
    for (const wire of scene.wires) await wire.killClient();
    for (const { known, ...asked } of held) {
      const again = await caller.request({ ...asked, known });
      const [before, after] = [addressesOf(known), addressesOf(again)].map((each) =>
        JSON.stringify(each),
      );
      if (before !== after) throw new Error(`a refresh changed ${before} to ${after}`);
      await caller.close(again);
    }
  } finally {
    await workloads.end();
  }
}

/** One step back, to a release that cannot read what it finds: it says so, and touches no wire. */
async function refuseBack(stage: Stage, from: Release, to: Release): Promise<void> {
  const forwarder = partOf(stage, 'node-1/forwarder');
  stage.mesh.executable = stage.executableOf(to);
  const refusal = await forwarder.restart().then(
    () => undefined,
    (error: unknown) => String(error),
  );
  const said = stage.logLines().filter((line) => line.includes('was written by a newer version'));
  if (refusal === undefined || said.length === 0) {
    throw new Error(`an earlier release took a later one's journal: ${refusal ?? 'it started'}`);
  }
  stage.mesh.executable = stage.executableOf(from);
  await forwarder.restart();
}

/** What a later release has taken over carries its tags. */
export async function expectRaisedTags({ netlink, nodes }: Stage): Promise<void> {
  const version = formats.wireTag + 1;
  for (const node of nodes) {
    for (const which of ['client', 'endpoint', 'tunnel'] as const) {
      for (const { name, alias } of await taggedLinks(netlink, node, which)) {
        if (alias.startsWith(`vwire/${version} `)) continue;
        throw new Error(`${name} on ${node.name}: expected a tag of version ${version}: ${alias}`);
      }
    }
  }
}

interface Change {
  readonly name: string;
  readonly title: string;
  readonly from: Release;
  readonly to: Release;
  readonly isOneWay?: boolean;
}

const changes: readonly Change[] = [
  {
    name: 'upgrade',
    title: 'every component from the previous release to this one, one after the other',
    from: 'previous',
    to: 'own',
  },
  {
    name: 'rollback',
    title: 'every component from this release to the previous one, one after the other',
    from: 'own',
    to: 'previous',
  },
  {
    name: 'format-change',
    title: 'every component to a release with later formats, one after the other; no way back',
    from: 'own',
    to: 'raised',
    isOneWay: true,
  },
];

export const upgradeCases: readonly ChaosCase[] = changes.map(
  ({ name, title, from, to, isOneWay = false }): ChaosCase => ({
    name,
    title,
    stage: { rolesApart: true },
    releases: [from, to].flatMap((release) => (release === 'own' ? [] : [release])),
    windowMs,
    bound: { lost: 0 },
    isFreshEachRound: true,
    async setUp(scene) {
      await install(scene.stage, from);
      await localAndRemote(scene);
    },
    async fault(scene) {
      await change(scene, to);
      if (!isOneWay) return undefined;
      await expectRaisedTags(scene.stage);
      await refuseBack(scene.stage, to, from);
      return undefined;
    },
  }),
);
