// Protects live wires from what a disk may do to the journals: damaged in the middle, cut off, or beyond reading, found
// by a process that was killed. It says what it found, touches no wire that it cannot explain, loses no packet, and has
// converged once the clients have refreshed.

import { closeSync, existsSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import { eventually } from '../sandbox/eventually.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import {
  addressesOf,
  expectPingsBothWays,
  interfacesOf,
  startSteadyPing,
} from '../sandbox/mesh-probes.ts';

interface Damage {
  readonly name: string;
  readonly inflict: (path: string) => void;
  /** What the next life says in its log. */
  readonly said: RegExp;
}

function overwrite(path: string, from: number, bytes: Uint8Array): void {
  const file = openSync(path, 'r+');
  writeSync(file, bytes, 0, bytes.length, from);
  closeSync(file);
}

const damages: readonly Damage[] = [
  {
    name: 'a damaged record in the middle',
    inflict: (path) => overwrite(path, 60, Buffer.from('damage')),
    // With no intact record behind it, it is the tail.
    said: /journal had a (damaged stretch|torn tail)/,
  },
  {
    name: 'a tail that is cut off',
    inflict: (path) => truncateSync(path, readFileSync(path).length - 7),
    said: /journal had a torn tail, cut off/,
  },
  {
    name: 'a header beyond reading',
    inflict: (path) => overwrite(path, 0, new Uint8Array(20)),
    said: /journal could not be read and was put aside/,
  },
];

/** Kills a child of the first node; its supervisor starts it again over the damaged journal. */
async function killOver(mesh: TestMesh, child: string, { inflict, said }: Damage): Promise<void> {
  const { processes, stateDir } = mesh;
  const directory = join(stateDir, 'node-1');
  const path = join(directory, `${child}-node-1.journal`);
  if (!existsSync(path)) expect.fail(`${path} is not there`);
  const victim = processes.supervised.get(`node-1/${child}`);
  if (victim === undefined) expect.fail(`${child} was never reported`);
  inflict(path);
  process.kill(victim.pid, 'SIGKILL');
  await eventually(`${child} is started again`, 10_000, () =>
    expect(processes.supervised.get(`node-1/${child}`)?.pid).not.toBe(victim.pid),
  );
  await eventually(`${child} says what it found`, 10_000, () =>
    expect(readFileSync(join(directory, `${child}.log`), 'utf8')).toMatch(said),
  );
}

describeMesh('live wires outlive', (mesh) => {
  test.each(damages)(
    '$name of the journals, found after kill -9',
    async (damage) => {
      const { workloads, nodes, netlink, traces } = mesh();
      const [near, far] = nodes;
      const service = 'recorded';
      const endpoint = await workloads.endpoint({
        node: far,
        services: [service],
        cidr: [['172.16.1.0/24']],
      });
      const caller = await workloads.caller(near);
      const known = await caller.request({ service });
      const before = await interfacesOf(netlink, caller.namespace);
      const steady = await startSteadyPing(caller.namespace, addressesOf(known).endpoint[0] ?? '');

      for (const child of ['forwarder', 'nsmgr']) await killOver(mesh(), child, damage);

      const again = await eventually('a refresh', 20_000, () =>
        caller.request({ service, known, timeoutMs: 3_000 }),
      );
      expect(addressesOf(again)).toEqual(addressesOf(known));
      expect(await interfacesOf(netlink, caller.namespace)).toEqual(before);
      await expectPingsBothWays(again, caller.namespace, endpoint.namespace);
      const { sent, received } = await steady.stop();
      expect(sent - received, `lost of ${sent}`).toBe(0);
      await caller.close(again);
      await endpoint.stop();
      await eventually('nothing left', 10_000, async () => expect(await traces()).toEqual([]));
    },
    240_000,
  );
});
