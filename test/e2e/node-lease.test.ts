// Protects what the domain knows of its nodes, with real processes: one that is killed is known to be gone within seconds and
// again when it is back, and a bus or a registry that is started again costs no node its lease for long.

import { expect, test } from 'vitest';

import { withMesh } from '../../bin/inspect/mesh-client.ts';
import { nodeViews } from '../../bin/inspect/views.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';

const limitMs = 30_000;

/** Nodes with a lease, as the first one's manager knows them. */
async function ready({ processes, nodes }: TestMesh): Promise<readonly string[]> {
  const endpoints = await withMesh(processes.socketOf(nodes[0]), (asked) => asked.endpoints());
  const views = nodeViews(endpoints, 'forwarder', Date.now());
  return views.filter(({ state }) => state === 'ready').map(({ name }) => name);
}

const all = ['node-1', 'node-2'];

describeMesh('the lease of a node', (mesh) => {
  test('ends with its processes and is there again with them', async () => {
    const { processes, nodes } = mesh();
    await eventually('both have one', limitMs, async () =>
      expect(await ready(mesh())).toEqual(all),
    );
    const supervisor = processes.processes.get('node-2');
    supervisor?.kill('SIGKILL');
    for (const child of ['nsmgr', 'forwarder']) {
      const pid = processes.supervised.get(`node-2/${child}`)?.pid;
      if (pid === undefined) expect.fail(`${child} was never reported`);
      process.kill(pid, 'SIGKILL');
    }
    await supervisor?.exited;
    await eventually('the killed one has none', limitMs, async () =>
      expect(await ready(mesh())).toEqual(['node-1']),
    );
    await processes.startNode(nodes[1]);
    await eventually('it is back', limitMs, async () => expect(await ready(mesh())).toEqual(all));
  }, 240_000);

  test('outlives the bus and the registry', async () => {
    const { processes } = mesh();
    process.kill(processes.bus?.pid ?? 0, 'SIGKILL');
    await processes.bus?.ended;
    await processes.startBus();
    const registry = processes.processes.get('registry');
    registry?.kill('SIGKILL');
    await registry?.exited;
    await processes.startRegistry();
    await eventually('both have one', limitMs, async () =>
      expect(await ready(mesh())).toEqual(all),
    );
  }, 240_000);
});
