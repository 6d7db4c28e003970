// Protects wires from the control plane's troubles: without a registry what works goes on, a restarted manager and a
// restarted forwarder take up what their journals say, and a client heals only what is broken.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  type ClientPart,
  createMesh,
  type Mesh,
  type Node,
  type Part,
} from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;
let first: Node;
let second: Node;
let nse: Part;
let client: ClientPart;
let connection: Connection;

beforeEach(async () => {
  mesh = await createMesh(2);
  [first, second] = mesh.nodes as [Node, Node];
  nse = await mesh.addEndpoint(second, 'nse');
  client = mesh.addClient(first, 'nsc');
  connection = await client.established();
});

afterEach(() => mesh.end());

const ids = (each: Connection) => each.path?.pathSegments.map(({ id }) => id);
const addresses = (each: Connection) => each.context?.ipContext?.srcIpAddrs;
const phases = () => client.statuses('nsc-0').map(({ phase }) => phase);

/** The client's interface as the kernel of its node has it. */
function clientInterface() {
  const end = connection.mechanism?.parameters['inodeURL'] ?? '';
  return first.world.interfaceIn(end, 'nsm-1');
}

describe('without a registry', () => {
  it('refreshes of live wires go on, and no client heals', async () => {
    await mesh.stopRegistry();
    await mesh.clock.advance(1_300_000);
    expect(phases().filter((phase) => phase === 'established').length).toBeGreaterThan(8);
    expect(phases()).not.toContain('healing');
    expect(ids(await client.established())).toEqual(ids(connection));
    expect(mesh.objects).toBe(4);
    await mesh.startRegistry();
    await mesh.clock.advance(90_000);
    expect(await mesh.registeredEndpoints()).toContain('nse');
  });

  it('a service that was asked for before is still served to new clients', async () => {
    await mesh.stopRegistry();
    const late = mesh.addClient(first, 'late');
    expect((await late.established()).networkServiceEndpointName).toBe('nse');
    await mesh.startRegistry();
    await mesh.clock.advance(90_000);
  });

  it('one that nobody asked for is refused, and served once the registry is back', async () => {
    await mesh.addEndpoint(second, 'other-nse', {
      serviceNames: ['other'],
      cidr: '172.16.9.0/24',
    });
    await mesh.stopRegistry();
    const late = mesh.addClient(first, 'late', ['kernel://other/nsm-1']);
    await mesh.clock.advance(20_000);
    expect(late.phase()).toBe('requesting');
    await mesh.startRegistry();
    expect((await late.established()).networkServiceEndpointName).toBe('other-nse');
    await mesh.clock.advance(90_000);
  });
});

describe('what starts without a registry', () => {
  it('a forwarder serves its wires at once, and is registered once the registry is back', async () => {
    const [forwarder] = first.forwarders;
    if (forwarder === undefined) throw new Error('no forwarder');
    await mesh.stopRegistry();
    await forwarder.stop();
    const sinceMs = mesh.clock.nowMs();
    await forwarder.start();
    expect(mesh.clock.nowMs() - sinceMs).toBeLessThan(20_000);
    expect(Object.keys(await mesh.connectionsAt(forwarder.url))).toHaveLength(1);
    expect(mesh.objects).toBe(4);
    await mesh.clock.advance(60_000);
    await mesh.startRegistry();
    await mesh.clock.advance(90_000);
    expect(await mesh.registeredEndpoints()).toContain(forwarder.name);
  });

  it('an Endpoint waits, and is found once the registry is back', async () => {
    await mesh.stopRegistry();
    await mesh.addEndpoint(second, 'other-nse', { serviceNames: ['other'], cidr: '172.16.9.0/24' });
    await mesh.clock.advance(60_000);
    await mesh.startRegistry();
    const late = mesh.addClient(first, 'late', ['kernel://other/nsm-1']);
    expect((await late.established()).networkServiceEndpointName).toBe('other-nse');
    await mesh.clock.advance(90_000);
  });
});

describe('an Endpoint that unregisters', () => {
  it('gets no new Requests, and its clients go to another with the same interface', async () => {
    const before = clientInterface();
    await mesh.addEndpoint(first, 'nse-2', { cidr: '172.16.1.0/24' });
    await nse.stop();
    expect((await mesh.run(askAnew())).networkServiceEndpointName).toBe('nse-2');
    await mesh.until(() => client.phase() === 'established' && phases().includes('healing'));
    const healed = await client.established();
    expect(healed.networkServiceEndpointName).toBe('nse-2');
    expect(healed.id).toBe('nsc-0');
    expect(clientInterface()?.index).toBe(before?.index);
    expect(ids(healed)?.slice(0, 3)).toEqual(ids(connection)?.slice(0, 3));
    expect(second.world.objectCount()).toBe(0);
  });

  it('leaves its clients asking until one is there again', async () => {
    await nse.stop();
    await mesh.clock.advance(30_000);
    expect(client.phase()).toBe('healing');
    await mesh.addEndpoint(first, 'nse-2', { cidr: '172.16.1.0/24' });
    expect((await client.established()).networkServiceEndpointName).toBe('nse-2');
  });

  async function askAnew(): Promise<Connection> {
    const answer = await mesh.request(first.managerUrl, mesh.firstRequest('hand-0'));
    await mesh.close(first.managerUrl, answer);
    return answer;
  }
});

describe.each(['first', 'second'] as const)('a manager that restarts (%s node)', (which) => {
  it('keeps connections, wires and ids, and shows them in its monitor', async () => {
    const node = which === 'first' ? first : second;
    const before = { interface: clientInterface(), objects: mesh.objects };
    const shown = await mesh.connectionsAt(node.managerUrl);
    await node.manager.stop();
    expect(mesh.objects).toBe(before.objects);
    await node.manager.start();
    expect(Object.keys(await mesh.connectionsAt(node.managerUrl))).toEqual(Object.keys(shown));
    await mesh.clock.advance(150_000);
    const refreshed = await client.established();
    expect(ids(refreshed)).toEqual(ids(connection));
    expect(addresses(refreshed)).toEqual(addresses(connection));
    expect(refreshed.networkServiceEndpointName).toBe('nse');
    expect(clientInterface()?.index).toBe(before.interface?.index);
    expect(mesh.objects).toBe(4);
  });

  it('closes what expired while it was away', async () => {
    const hand = await mesh.run(mesh.request(first.managerUrl, mesh.firstRequest('hand-0')));
    const node = which === 'first' ? first : second;
    await node.manager.stop();
    await mesh.clock.advance(700_000);
    await node.manager.start();
    await client.established();
    const own = hand.path?.pathSegments[which === 'first' ? 1 : 3]?.id ?? '';
    await mesh.until(async () => !(own in (await mesh.connectionsAt(node.managerUrl))));
    await mesh.clock.advance(60_000);
    expect(mesh.objects).toBe(4);
  });
});

describe.each(['first', 'second'] as const)('a forwarder that restarts (%s node)', (which) => {
  it('adopts its wires: nothing is made anew and nothing is lost', async () => {
    const node = which === 'first' ? first : second;
    const [forwarder] = node.forwarders;
    const before = clientInterface();
    await forwarder?.stop();
    expect(mesh.objects).toBe(4);
    await forwarder?.start();
    expect(mesh.objects).toBe(4);
    await mesh.clock.advance(150_000);
    const refreshed = await client.established();
    expect(ids(refreshed)).toEqual(ids(connection));
    expect(addresses(refreshed)).toEqual(addresses(connection));
    expect(clientInterface()?.index).toBe(before?.index);
    expect(mesh.objects).toBe(4);
  });
});
