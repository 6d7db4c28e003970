// Protects the return of remote wires after an underlay outage: a neighbour that a tunnel is sent through, and that
// did not answer, is asked for until it does, without a packet of the wire; nobody else's neighbour is.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import {
  createNeighborWatch,
  type NeighborWatch,
} from '../../../dataplane/kernel/neighbor-watch.ts';
import {
  addAddress,
  addRoute,
  getNeighbor,
  parseNeighbor,
} from '../../../protocols/netlink/address.ts';
import { neighborState } from '../../../protocols/netlink/constants.ts';
import { errno } from '../../../protocols/netlink/errno.ts';
import { parseIp, parsePrefix } from '../../../protocols/netlink/ip-address.ts';
import { getLinkByName, parseLink } from '../../../protocols/netlink/link.ts';
import { run } from '../../../dataplane/kernel/run.ts';
import type { Tunnel } from '../../../dataplane/kernel/wire-table.ts';
import type { Netlink } from '../../../protocols/ports/netlink.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { Sandbox } from '../../sandbox/namespaces.ts';
import { createSandbox, heldNamespaces, whyNoNamespaces } from '../../sandbox/namespaces.ts';
import { clientEnd, tunnel } from '../../sandbox/wires.ts';

const budget = { timeoutMs: 10_000 };
const waitMs = 20_000;
const reason = whyNoNamespaces();
const unresolved = neighborState.incomplete | neighborState.failed;

describe.skipIf(reason !== undefined)(`neighbours of the underlay ${reason ?? ''}`, () => {
  let sandbox: Sandbox;
  let held: number;
  let node: NetworkNamespace;
  let peer: NetworkNamespace;
  let netlink: Netlink;
  let watch: NeighborWatch;
  /** Without wires, so that nothing but the watch asks. */
  let tunnels: Tunnel[];

  beforeEach(async () => {
    held = heldNamespaces().length;
    sandbox = createSandbox();
    node = sandbox.namespace();
    peer = sandbox.namespace();
    netlink = createNetlink({ namespace: node.url });
    tunnels = [];
    watch = createNeighborWatch({ netlink, clock: systemClock, tunnels: () => tunnels });
    await new Promise<void>((resolve) => {
      netlink.watchLinks({ namePrefix: 'none', filterTable: 'none' }, (event) => {
        // What was before it listens it has missed.
        if (event.kind === 'lost') resolve();
        if (event.kind === 'neighborFailed') watch.onFailed(event);
      });
    });
  });

  afterEach(async () => {
    watch.close();
    await netlink.close();
    await sandbox.close();
    expect(heldNamespaces()).toHaveLength(held);
  });

  test.each([
    { name: 'IPv4', local: '192.168.77.1', remote: '192.168.77.2', bits: 24 },
    { name: 'IPv6', local: 'fd77::1', remote: 'fd77::2', bits: 64 },
  ])('of $name that hold a tunnel are asked for until they answer', async (ends) => {
    const { local, remote, bits } = ends;
    await underlay(`${local}/${bits}`);
    tunnelTo(local, remote);
    await failed(remote);
    await toPeer(`${remote}/${bits}`);
    await eventually('the neighbour is found without a packet', waitMs, async () => {
      expect(await stateOf(remote)).not.toBe('unresolved');
    });
  });

  test('that are the gateway to a tunnel are asked for as well', async () => {
    await underlay('192.168.77.1/24');
    await sandbox.program(node, [
      findUnderlay,
      {
        message: addRoute({
          index: { register: 'link' },
          destination: parsePrefix('10.9.0.0/24'),
          gateway: parseIp('192.168.77.2'),
        }),
        what: 'route by the gateway',
      },
    ]);
    tunnelTo('192.168.77.1', '10.9.0.5');
    await failed('192.168.77.2');
    await toPeer('192.168.77.2/24');
    await eventually('the gateway is found without a packet', waitMs, async () => {
      expect(await stateOf('192.168.77.2')).not.toBe('unresolved');
    });
  });

  test('that no tunnel needs are left to the kernel', async () => {
    await underlay('192.168.77.1/24');
    tunnelTo('192.168.77.1', '192.168.77.3');
    await failed('192.168.77.2');
    // Whoever is needed is asked for after it, so what would have been done to the other has been done by then.
    await failed('192.168.77.3');
    await toPeer('192.168.77.3/24');
    await toPeer('192.168.77.2/24');
    await eventually('the needed one is found', waitMs, async () => {
      expect(await stateOf('192.168.77.3')).not.toBe('unresolved');
    });
    expect(await stateOf('192.168.77.2')).toBe('unresolved');
  });

  test('that answer again have the workloads behind them asked for what they gave up', async () => {
    const [workload, far] = [sandbox.namespace(), sandbox.namespace()];
    await sandbox.underlay([
      { namespace: workload, addresses: ['10.5.0.1/24'] },
      { namespace: far, addresses: [] },
    ]);
    await underlay('192.168.77.1/24');
    tunnelTo('192.168.77.1', '192.168.77.2', {
      workload: { ...clientEnd(workload.url, 1), interfaceName: 'underlay' },
    });
    await failed('10.5.0.2', workload);
    await failed('192.168.77.2');
    await toPeer('10.5.0.2/24', far);
    await toPeer('192.168.77.2/24');
    await eventually('the far end is found without a packet', waitMs, async () => {
      expect(await stateOf('10.5.0.2', workload)).toBe('known');
    });
  });

  const findUnderlay = {
    message: getLinkByName('underlay'),
    what: 'find the underlay',
    store: { register: 'link', offset: 4 },
  };

  /** The peer has no address yet, so that nobody answers. */
  async function underlay(address: string): Promise<void> {
    await sandbox.underlay([
      { namespace: node, addresses: [address] },
      { namespace: peer, addresses: [] },
    ]);
  }

  async function toPeer(address: string, namespace = peer): Promise<void> {
    const message = addAddress({ register: 'link' }, parsePrefix(address));
    await sandbox.program(namespace, [findUnderlay, { message, what: `add ${address}` }]);
  }

  function tunnelTo(
    localIp: string,
    remoteIp: string,
    workload: Pick<Tunnel, 'workload'> = {},
  ): void {
    const end = tunnel({ localIp, remoteIp, localPort: 4789, remotePort: 4789, vni: 7 });
    tunnels.push({ id: 'wire', end, ...workload });
  }

  /** As the kernel does three seconds after a neighbour was last heard of. */
  async function failed(neighbor: string, namespace = node): Promise<void> {
    const entry = ['ip', 'neigh', 'replace', neighbor, 'dev', 'underlay'] as const;
    for (const state of ['lladdr 02:00:00:00:00:09 nud reachable', 'nud failed']) {
      const { exitCode, stderr } = await sandbox.run(namespace, [...entry, ...state.split(' ')]);
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    }
  }

  async function stateOf(
    neighbor: string,
    { url: namespace } = node,
  ): Promise<'unresolved' | 'known'> {
    const index = await indexOfUnderlay(namespace);
    const message = getNeighbor(index, parseIp(neighbor));
    const requests = [{ message, what: 'read the neighbour', tolerate: [errno.noEntry] }];
    const program = [{ namespace, protocol: 'route', requests } as const];
    const answer = (await run(netlink, program, budget))[0]?.[0]?.messages[0];
    const state = answer === undefined ? undefined : parseNeighbor(answer)?.state;
    return state === undefined || (state & unresolved) === state ? 'unresolved' : 'known';
  }

  async function indexOfUnderlay(namespace: string): Promise<number> {
    const requests = [{ message: getLinkByName('underlay'), what: 'find the underlay' }];
    const program = [{ namespace, protocol: 'route', requests } as const];
    const [[found] = []] = await run(netlink, program, budget);
    return found?.messages.flatMap((message) => parseLink(message) ?? [])[0]?.index ?? 0;
  }
});
