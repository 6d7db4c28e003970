// Protects a client's Endpoint and addresses where others would do as well: trouble of the control plane of its own
// node is no reason to move, and neither is a wall clock that steps.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { type ClientPart, createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;
let node: Node;
let client: ClientPart;
let before: Connection;

beforeEach(async () => {
  mesh = await createMesh(1);
  [node] = mesh.nodes as [Node];
  await mesh.addEndpoint(node, 'nse-1');
  await mesh.addEndpoint(node, 'nse-2', { cidr: '172.16.1.0/24' });
  await mesh.addEndpoint(node, 'nse-3', { cidr: '172.16.2.0/24' });
  client = mesh.addClient(node, 'nsc');
  before = await client.established();
});

afterEach(() => mesh.end());

async function expectSame(): Promise<void> {
  await mesh.clock.advance(130_000);
  const after = await client.established();
  expect(after.networkServiceEndpointName).toBe(before.networkServiceEndpointName);
  expect(after.context?.ipContext).toEqual(before.context?.ipContext);
  expect(after.path?.pathSegments.map(({ id }) => id)).toEqual(
    before.path?.pathSegments.map(({ id }) => id),
  );
  expect(mesh.objects).toBe(2);
}

describe.each([0, 10_000, 60_000])('away for %i ms', (awayMs) => {
  it('a manager costs no client its Endpoint', async () => {
    await node.manager.stop();
    await mesh.clock.advance(awayMs);
    await node.manager.start();
    await expectSame();
  });

  it('a manager and the registry cost no client its Endpoint', async () => {
    await mesh.stopRegistry();
    await node.manager.stop();
    await mesh.clock.advance(awayMs);
    await node.manager.start();
    await mesh.clock.advance(5_000);
    await mesh.startRegistry();
    await expectSame();
  });
});

it('a forwarder that restarts costs no client its Endpoint', async () => {
  const [forwarder] = node.forwarders;
  await forwarder?.stop();
  await mesh.clock.advance(500);
  await forwarder?.start();
  await expectSame();
});

describe.each([-3_600_000, 3_600_000])('a wall clock that steps by %i ms', (stepMs) => {
  it('ends no connection, also where a manager restarts after it', async () => {
    mesh.clock.stepWall(stepMs);
    await mesh.clock.advance(1_000);
    await node.manager.stop();
    await node.manager.start();
    await expectSame();
  });
});
