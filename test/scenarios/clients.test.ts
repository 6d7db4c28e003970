// Protects clients from their own past and from each other: one that starts again elsewhere is connected there, two
// that bear the same name have a wire each, an Endpoint with a late clock costs no storm, and nothing starves a Close.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { createGate } from '../sandbox/gate.ts';
import { createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;
let node: Node;

beforeEach(async () => {
  mesh = await createMesh();
  [node] = mesh.nodes as [Node];
});

afterEach(() => mesh.end());

const namespaceOf = ({ mechanism }: Connection) => mechanism?.parameters['inodeURL'] ?? '';
const managerId = ({ path }: Connection) => path?.pathSegments[1]?.id;

describe('a client that starts again in another namespace', () => {
  it('is connected there, whatever its manager holds of its last life', async () => {
    await mesh.addEndpoint(node, 'nse');
    const request = mesh.firstRequest('nsc-0');
    const [own] = request.connection?.path?.pathSegments ?? [];
    if (own !== undefined) own.name = 'nsc';
    const before = await mesh.run(mesh.request(node.managerUrl, request));
    node.world.removeNamespace(namespaceOf(before));
    const client = mesh.addClient(node, 'nsc');
    const after = await client.established();
    expect(namespaceOf(after)).not.toBe(namespaceOf(before));
    expect(node.world.interfaceIn(namespaceOf(after), 'nsm-1')).toBeDefined();
    expect(client.statuses('nsc-0').length).toBeLessThan(3);
    await mesh.clock.advance(600_000);
    expect(client.phase()).toBe('established');
  });
});

describe('two clients of the same name on one node', () => {
  it('have a wire each, and keep it when the other goes', async () => {
    await mesh.addEndpoint(node, 'nse');
    const [one, two] = [mesh.addClient(node, 'nsc'), mesh.addClient(node, 'nsc')];
    const [first, second] = [await one.established(), await two.established()];
    expect(managerId(first)).not.toBe(managerId(second));
    expect(first.context?.ipContext?.srcIpAddrs).not.toEqual(second.context?.ipContext?.srcIpAddrs);
    for (const each of [first, second]) {
      expect(node.world.interfaceIn(namespaceOf(each), 'nsm-1')).toBeDefined();
    }
    await two.stop();
    await mesh.clock.advance(300_000);
    expect(one.statuses('nsc-0').map(({ phase }) => phase)).not.toContain('healing');
    expect(managerId(await one.established())).toBe(managerId(first));
    expect(node.world.interfaceIn(namespaceOf(first), 'nsm-1')).toBeDefined();
    expect(mesh.objects).toBe(2);
  });
});

describe('an Endpoint whose clock is late', () => {
  it('is not asked without end', async () => {
    await mesh.addEndpoint(node, 'nse', { maxTokenLifetimeMs: -5 });
    const client = mesh.addClient(node, 'nsc');
    await client.established();
    const before = client.statuses('nsc-0').length;
    await mesh.clock.advance(60_000);
    expect(client.statuses('nsc-0').length - before).toBeLessThan(9);
    expect(client.phase()).toBe('established');
  });
});

describe('a client that ends while its Request hangs', () => {
  it('is gone at once, and nothing is left once the hop goes on', async () => {
    const gate = createGate();
    gate.close();
    await mesh.addEndpoint(node, 'nse', {
      async onRequest(connection) {
        await gate.pass();
        return connection;
      },
    });
    const client = mesh.addClient(node, 'nsc');
    await mesh.run(gate.arrival());
    const beganMs = mesh.clock.nowMs();
    await client.stop();
    expect(mesh.clock.nowMs() - beganMs).toBeLessThan(1_000);
    expect(client.phase()).toBe('closed');
    gate.open();
    await mesh.clock.advance(1_000);
    expect(mesh.objects).toBe(0);
  });
});
