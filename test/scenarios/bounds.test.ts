// Protects every door of a hop: not only a Request but also a Close and a monitor's selector is refused where it goes
// beyond the bounds, before anything acts on it.

import { create } from '@bufbuild/protobuf';
import { afterEach, expect, it } from 'vitest';
import {
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { createMesh, type Mesh } from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;

afterEach(() => mesh.end());

it('a Close beyond the bounds is refused, and closes nothing', async () => {
  mesh = await createMesh();
  const [node] = mesh.nodes;
  if (node === undefined) throw new Error('no node');
  await mesh.addEndpoint(node, 'nse');
  const answer = await mesh.run(mesh.request(node.managerUrl, mesh.firstRequest('hand-0')));
  const wide = { ...answer, networkService: 'x'.repeat(100_000) };
  const closing = mesh.run(mesh.close(node.managerUrl, wide));
  await expect(closing).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  expect(mesh.objects).toBe(2);
  await mesh.run(mesh.close(node.managerUrl, answer));
});

it('a monitor with a selector beyond the bounds is refused', async () => {
  mesh = await createMesh();
  const [node] = mesh.nodes;
  const stop = new AbortController();
  const client = mesh.dialer.dial(node?.managerUrl ?? '').client(MonitorConnection);
  const pathSegments = Array.from({ length: 10_000 }, () => ({ name: 'nsc' }));
  const selector = create(MonitorScopeSelectorSchema, { pathSegments });
  const reading = async (): Promise<void> => {
    for await (const _ of client.monitorConnections(selector, { signal: stop.signal })) return;
  };
  try {
    await expect(mesh.run(reading())).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  } finally {
    stop.abort();
  }
});
