// Protects live wires under a change to a release that writes later formats in its journals, tags and calls: each part in
// turn becomes one of the later release while packets flow, and takes over what the one before has left. The release is
// this one with every number of protocols/formats.ts raised. `npm run chaos -- --case format-change` does more of it.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';

import { expectRaisedTags } from '../../bench/chaos/cases/upgrades.ts';
import { nodeOf } from '../../bench/chaos/cases/wires.ts';
import { provideReleases } from '../../bench/chaos/releases.ts';
import { runRound } from '../../bench/chaos/round.ts';
import { Scene } from '../../bench/chaos/scene.ts';
import { createStage } from '../../bench/chaos/stage.ts';
import { whyNoNamespaces } from '../sandbox/namespaces.ts';

const repository = join(import.meta.dirname, '../..');
const executable = join(repository, 'dist/bin/vwire.js');
const reason = whyNoNamespaces();
const note = reason === undefined ? '' : ` (needs network namespaces: ${reason})`;

async function onLaterFormats({ stage, wires }: Scene): Promise<undefined> {
  stage.mesh.executable = stage.executableOf('raised');
  // On one node the manager is of the later release first, on the other one the forwarder.
  for (const together of [
    ['node-1/nsmgr', 'node-2/forwarder'],
    ['node-1/forwarder', 'node-2/nsmgr', 'registry'],
  ]) {
    const parts = stage.parts.filter(({ name }) => together.includes(name));
    await Promise.all(parts.map((part) => part.restart()));
  }
  for (const wire of wires) await wire.killClient();
  await expectRaisedTags(stage);
}

describe.skipIf(reason !== undefined)(`a release with later formats${note}`, () => {
  beforeAll(async () => {
    const prepare = ['bin/bootstrap.mjs', 'prepare'];
    await promisify(execFile)(process.execPath, prepare, { cwd: repository });
  }, 200_000);

  test('takes over a live wire, part by part, without a packet lost', async () => {
    const releases = await provideReleases({
      needs: new Set(['raised']),
      repository,
      executable,
      progress: () => {},
    });
    try {
      const stage = await createStage({
        nodes: 2,
        busServers: 1,
        rolesApart: true,
        executable,
        otherReleases: releases.others,
      });
      const scene = new Scene(stage);
      try {
        await scene.addWire({ service: 'kept', endpointNode: nodeOf(scene, 2) });
        const { wires } = await runRound(scene, {
          name: 'format-change',
          title: 'to later formats',
          windowMs: 1_000,
          bound: { lost: 0 },
          setUp: () => Promise.resolve(),
          fault: onLaterFormats,
        });
        expect(wires).toMatchObject([
          { lostThere: 0, lostBack: 0, changed: [], lostAddresses: [], newAddresses: [] },
        ]);
      } finally {
        expect(await scene.end(), stage.logLines().join('\n')).toEqual([]);
        expect(await stage.close()).toEqual([]);
      }
    } finally {
      releases.end();
    }
  }, 240_000);
});
