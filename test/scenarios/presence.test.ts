// Protects that an Endpoint whose process ends without a word is given to no new client for long, while the wires that it
// has stay: whether its namespace still answers is for their clients to find out.

import { create } from '@bufbuild/protobuf';
import { afterEach, expect, it } from 'vitest';
import { registryClients } from '../../actors/registry/registry-clients.ts';
import {
  NetworkServiceEndpointQuerySchema,
  NetworkServiceEndpointSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { createMesh, type Mesh } from '../sandbox/in-process-mesh.ts';
import { callMs } from '../sandbox/mesh-calls.ts';

let mesh: Mesh;

afterEach(() => mesh.end());

it('an Endpoint that dies is out of every registry within seconds, and its wires stay', async () => {
  mesh = await createMesh(2);
  const [first, last] = mesh.nodes;
  if (first === undefined || last === undefined) throw new Error('two nodes');
  await mesh.addEndpoint(last, 'nse-1');
  // The registration of a process that dies: the same entry, held by a watch that ends without an Unregister.
  const { endpoints } = registryClients(mesh.dialer.dial(last.managerUrl));
  const dying = create(NetworkServiceEndpointSchema, {
    name: 'nse-dying',
    networkServiceNames: ['service'],
    url: 'memory:node-2/nse-1',
  });
  await mesh.run(endpoints.register(dying, { timeoutMs: callMs }));
  const process = new AbortController();
  const query = create(NetworkServiceEndpointQuerySchema, {
    networkServiceEndpoint: { name: dying.name },
    watch: true,
  });
  const life = (async () => {
    for await (const _ of endpoints.find(query, { signal: process.signal }));
  })().catch(() => {});
  const held = mesh.firstRequest('hand-0', { networkServiceEndpointName: dying.name });
  const wire = await mesh.run(mesh.request(first.managerUrl, held));
  process.abort();
  await mesh.run(life);
  await mesh.until(async () => !(await mesh.registeredEndpoints()).includes(dying.name), 3_000);
  for (let index = 1; index < 5; index += 1) {
    const answer = await mesh.run(
      mesh.request(first.managerUrl, mesh.firstRequest(`hand-${index}`)),
    );
    expect(answer.networkServiceEndpointName).toBe('nse-1');
    await mesh.run(mesh.close(first.managerUrl, answer));
  }
  const again = await mesh.run(mesh.request(first.managerUrl, mesh.refreshOf(wire)));
  expect(again.networkServiceEndpointName).toBe(dying.name);
  expect(mesh.objects).toBe(4);
  await mesh.run(mesh.close(first.managerUrl, again));
});
