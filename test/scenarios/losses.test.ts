// Protects what happens when a part is lost without a word: an Endpoint that is gone is replaced at once behind the
// same interface, a client's namespace takes its wire with it, and a data plane that fails at any step leaves nothing.

import { afterEach, describe, expect, it } from 'vitest';
import type { SimulatedFault } from '../../dataplane/simulated/simulated.ts';
import { NsmError } from '../../protocols/errors.ts';
import { State } from '../../protocols/nsm/gen/connection_pb.ts';
import { NetworkService } from '../../protocols/nsm/gen/networkservice_pb.ts';
import { serve } from '../../protocols/ports/rpc.ts';
import { createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;

afterEach(() => mesh.end());

async function start(nodeCount: number): Promise<readonly [Node, Node]> {
  mesh = await createMesh(nodeCount);
  return [mesh.nodes[0], mesh.nodes.at(-1)] as [Node, Node];
}

const parameter = (mechanism: { parameters: Record<string, string> } | undefined, key: string) =>
  mechanism?.parameters[key] ?? '';

describe.each([1, 2])('an Endpoint that is lost, on %i nodes', (nodeCount) => {
  it('is replaced within 500 ms behind the same interface', async () => {
    const [first, last] = await start(nodeCount);
    const lost = await mesh.addEndpoint(last, 'nse-1');
    const client = mesh.addClient(first, 'nsc');
    const before = await client.established();
    const netns = parameter(before.mechanism, 'inodeURL');
    const index = first.world.interfaceIn(netns, 'nsm-1')?.index;
    await mesh.addEndpoint(last, 'nse-2', { cidr: '172.16.1.0/24' });
    await mesh.cutOff(lost);
    await mesh.clock.advance(500);
    const after = await client.established();
    expect(after.networkServiceEndpointName).toBe('nse-2');
    expect(first.world.interfaceIn(netns, 'nsm-1')?.index).toBe(index);
    expect(mesh.objects).toBe(2 * nodeCount);
    expect(after.path?.pathSegments.slice(0, -1).map(({ id }) => id)).toEqual(
      before.path?.pathSegments.slice(0, -1).map(({ id }) => id),
    );
  });
});

describe('an Endpoint that never answers', () => {
  it('a Close does not hold up the answer to a reselect', async () => {
    const [node] = await start(1);
    const old = await mesh.addEndpoint(node, 'nse-1');
    const first = await mesh.run(mesh.request(node.managerUrl, mesh.firstRequest('hand-0')));
    await mesh.addEndpoint(node, 'nse-2', { cidr: '172.16.1.0/24' });
    await mesh.cutOff(old);
    const hung = serve(NetworkService, {
      request: () => Promise.reject(new NsmError('UNAVAILABLE', 'hung')),
      close: () => new Promise(() => {}),
    });
    const listening = await mesh.listener.listen(old.url, [hung]);
    const reselect = mesh.refreshOf({
      ...first,
      networkServiceEndpointName: '',
      state: State.RESELECT_REQUESTED,
    });
    const askedMs = mesh.clock.nowMs();
    const moved = await mesh.run(mesh.request(node.managerUrl, reselect));
    expect(mesh.clock.nowMs() - askedMs).toBeLessThan(1_000);
    expect(moved.networkServiceEndpointName).toBe('nse-2');
    expect(mesh.objects).toBe(2);
    await mesh.run(mesh.close(node.managerUrl, moved));
    await mesh.clock.advance(15_000);
    await mesh.run(listening.close(0));
  });
});

describe('a client that comes back as a stranger', () => {
  it('because its answer was lost takes the place of its old wire at once', async () => {
    const [first, last] = await start(2);
    await mesh.addEndpoint(last, 'nse');
    const request = mesh.firstRequest('hand-0');
    await mesh.run(mesh.request(first.managerUrl, request));
    const second = await mesh.run(mesh.request(first.managerUrl, request));
    expect(mesh.objects).toBe(4);
    for (const url of [first.managerUrl, last.managerUrl, 'memory:node-2/nse']) {
      expect(Object.keys(await mesh.connectionsAt(url)).length, url).toBe(1);
    }
    await mesh.run(mesh.close(first.managerUrl, second));
  });

  it('because its manager forgot it takes the place of its old wire at once', async () => {
    const [node] = await start(1);
    const [forwarder] = node.forwarders;
    if (forwarder === undefined) throw new Error('no forwarder');
    await mesh.addEndpoint(node, 'nse');
    // What a manager says that knows nothing of its earlier life: another id of its own in the same place.
    const through = (id: string) => {
      const request = mesh.firstRequest('hand-0');
      const { connection } = request;
      const [client] = connection?.path?.pathSegments ?? [];
      if (connection?.path === undefined || client === undefined) throw new Error('no path');
      connection.id = id;
      connection.path.index = 1;
      connection.path.pathSegments.push({ ...client, name: 'nsmgr-node-1', id });
      return request;
    };
    const lost = through('manager-id-1');
    await mesh.run(mesh.request(forwarder.url, lost));
    const again = { ...through('manager-id-2'), mechanismPreferences: lost.mechanismPreferences };
    const second = await mesh.run(mesh.request(forwarder.url, again));
    expect(mesh.objects).toBe(2);
    expect(Object.keys(await mesh.connectionsAt('memory:node-1/nse')).length).toBe(1);
    await mesh.run(mesh.close(forwarder.url, second));
  });

  it('with another namespace or another name takes nobody’s wire', async () => {
    const [node] = await start(1);
    await mesh.addEndpoint(node, 'nse');
    const one = await mesh.run(mesh.request(node.managerUrl, mesh.firstRequest('hand-0')));
    const two = await mesh.run(mesh.request(node.managerUrl, mesh.firstRequest('hand-0')));
    expect(mesh.objects).toBe(4);
    for (const each of [one, two]) await mesh.run(mesh.close(node.managerUrl, each));
  });
});

describe('a client’s namespace that is gone', () => {
  it('takes the wire with it on every node at once, and the rest at its expiry', async () => {
    const [first, last] = await start(2);
    await mesh.addEndpoint(last, 'nse');
    const answer = await mesh.run(mesh.request(first.managerUrl, mesh.firstRequest('hand-0')));
    first.world.removeNamespace(parameter(answer.mechanism, 'inodeURL'));
    await mesh.clock.advance(1_000);
    expect(mesh.objects).toBe(0);
    for (const url of ['memory:node-2/nsmgr', 'memory:node-2/nse']) {
      expect(await mesh.connectionsAt(url), url).toEqual({});
    }
    await mesh.clock.advance(600_000);
  });
});

/** Steps at which the simulated data plane may fail while it makes a wire. */
const steps = ['make client end', 'make endpoint end', 'join', 'remove what was replaced'];

describe.each(['first', 'second'] as const)('a data plane that fails on the %s node', (which) => {
  it.each(steps)('to %s leaves nothing at any hop', async (failing) => {
    const [first, last] = await start(2);
    let fault: SimulatedFault | undefined = 'fail';
    const node = which === 'first' ? first : last;
    const [whole] = node.forwarders;
    await whole?.stop();
    const broken = await mesh.addForwarder(node, {
      name: 'forwarder-broken',
      fault: (operation, step) => (operation === 'ensure' && step === failing ? fault : undefined),
    });
    await mesh.addEndpoint(last, 'nse');
    const asking = mesh.request(first.managerUrl, mesh.firstRequest('hand-0'));
    await expect(mesh.run(asking)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await mesh.clock.advance(1_000);
    expect(mesh.objects).toBe(0);
    for (const url of [first.managerUrl, last.managerUrl, broken.url, 'memory:node-2/nse']) {
      expect(await mesh.connectionsAt(url), url).toEqual({});
    }
    fault = undefined;
    const second = await mesh.run(mesh.request(first.managerUrl, mesh.firstRequest('hand-0')));
    expect(mesh.objects).toBe(4);
    await mesh.run(mesh.close(first.managerUrl, second));
  });
});

describe('a data plane that cannot remove a wire', () => {
  it('when it expires is asked again until the wire is gone', async () => {
    const [node] = await start(1);
    await node.forwarders[0]?.stop();
    let failures = 1;
    await mesh.addForwarder(node, {
      name: 'forwarder-broken',
      fault(operation) {
        if (operation === 'remove') failures -= 1;
        return operation === 'remove' && failures >= 0 ? 'fail' : undefined;
      },
    });
    await mesh.addEndpoint(node, 'nse');
    await mesh.run(mesh.request(node.managerUrl, mesh.firstRequest('hand-0')));
    expect(mesh.objects).toBe(2);
    await mesh.clock.advance(610_000);
    expect(mesh.objects).toBe(0);
  });
});
