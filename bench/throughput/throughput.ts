// What a wire costs the packets: TCP throughput by iperf3 over a local wire beside a straight veth between the same
// two namespaces, and over a remote wire beside a bare VXLAN device over the same underlay. The two take turns.

import { createKernelDataplane } from '../../dataplane/kernel/kernel.ts';
import { addAddress } from '../../protocols/netlink/address.ts';
import { parsePrefix } from '../../protocols/netlink/ip-address.ts';
import { changeLink, createVeth, getLinkByName } from '../../protocols/netlink/link.ts';
import type { Dataplane } from '../../protocols/ports/dataplane.ts';
import { createSandbox, type Sandbox, whyNoNamespaces } from '../../test/sandbox/namespaces.ts';
import {
  clientEnd,
  endpointEnd,
  localWire,
  tunnel,
  wireAddresses,
} from '../../test/sandbox/wires.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { tcpGigabits, whyNoIperf } from './iperf.ts';
import { type Figure, judge, median, type Progress, type RunSuite, Skipped } from '../figure.ts';

const rounds = 5;
const budget = { timeoutMs: 10_000 };
const underlay = ['192.168.77.1', '192.168.77.2'] as const;
const bare = ['172.31.9.1', '172.31.9.2'] as const;

/** Two ways between two namespaces: by the wire, and by what it is held against. */
interface Pair {
  readonly client: NetworkNamespace;
  readonly endpoint: NetworkNamespace;
  readonly wireIp: string;
  readonly limitClient: NetworkNamespace;
  readonly limitEndpoint: NetworkNamespace;
}

export const run: RunSuite = async (progress) => {
  const reason = whyNoNamespaces() ?? whyNoIperf();
  if (reason !== undefined) throw new Skipped(reason);
  return [
    await inSandbox((sandbox, node) =>
      measure(sandbox, progress, {
        name: 'iperf3 over a local wire',
        limitName: 'straight veth',
        pair: () => localPair(sandbox, node),
      }),
    ),
    await inSandbox((sandbox, node) =>
      measure(sandbox, progress, {
        name: 'iperf3 over a remote wire',
        limitName: 'bare VXLAN device',
        pair: () => remotePair(sandbox, node),
      }),
    ),
  ];
};

type MakeNode = () => { readonly namespace: NetworkNamespace; readonly dataplane: Dataplane };

async function inSandbox(
  work: (sandbox: Sandbox, node: MakeNode) => Promise<Figure>,
): Promise<Figure> {
  const sandbox = createSandbox();
  const closes: (() => Promise<void>)[] = [];
  const node: MakeNode = () => {
    const namespace = sandbox.namespace();
    const netlink = createNetlink({ namespace: namespace.url });
    const owner = { installation: 'bench', forwarder: 'throughput' };
    const dataplane = createKernelDataplane({ netlink, clock: systemClock, ...owner });
    closes.push(
      () => dataplane.close(),
      () => netlink.close(),
    );
    return { namespace, dataplane };
  };
  try {
    return await work(sandbox, node);
  } finally {
    for (const close of closes) await close();
    await sandbox.close();
  }
}

async function measure(
  sandbox: Sandbox,
  progress: Progress,
  what: {
    readonly name: string;
    readonly limitName: string;
    readonly pair: () => Promise<Pair>;
  },
): Promise<Figure> {
  const pair = await what.pair();
  const wire: number[] = [];
  const limit: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`${what.name}, round ${round} of ${rounds}`);
    limit.push(await tcpGigabits(sandbox, pair.limitClient, pair.limitEndpoint, bare[1]));
    wire.push(await tcpGigabits(sandbox, pair.client, pair.endpoint, pair.wireIp));
  }
  return judge(
    {
      suite: 'throughput',
      name: what.name,
      value: median(wire),
      unit: 'Gbit/s',
      limitName: what.limitName,
      limitValue: median(limit),
    },
    { of: 'ratio', atLeast: 0.9 },
  );
}

async function localPair(sandbox: Sandbox, node: MakeNode): Promise<Pair> {
  const { dataplane } = node();
  const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
  await dataplane.ensure(localWire({ client: client.url, endpoint: endpoint.url }, 1), budget);
  const peer = { name: 'bare', namespaceDescriptor: { namespaceDescriptor: endpoint.url } };
  await sandbox.program(client, [
    { message: createVeth({ name: 'bare', group: 0, mtu: 0, peer }), what: 'create a veth' },
  ]);
  await setUp(sandbox, client, `${bare[0]}/30`);
  await setUp(sandbox, endpoint, `${bare[1]}/30`);
  const wireIp = wireAddresses(1).endpoint;
  return { client, endpoint, wireIp, limitClient: client, limitEndpoint: endpoint };
}

async function remotePair(sandbox: Sandbox, node: MakeNode): Promise<Pair> {
  const [first, second] = [node(), node()];
  await sandbox.underlay([
    { namespace: first.namespace, addresses: [`${underlay[0]}/24`] },
    { namespace: second.namespace, addresses: [`${underlay[1]}/24`] },
  ]);
  const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
  const base = { id: 'remote', payload: 'IP', mtu: 0 } as const;
  const end = (local: string, remote: string) =>
    tunnel({ localIp: local, remoteIp: remote, localPort: 4789, remotePort: 4789, vni: 4711 });
  const [left, right] = underlay;
  await first.dataplane.ensure(
    { ...base, client: clientEnd(client.url, 1), endpoint: end(left, right) },
    budget,
  );
  await second.dataplane.ensure(
    { ...base, client: end(right, left), endpoint: endpointEnd(endpoint.url, 1) },
    budget,
  );
  await bareTunnel(sandbox, first.namespace, { local: left, remote: right });
  await bareTunnel(sandbox, second.namespace, { local: right, remote: left });
  await setUp(sandbox, first.namespace, `${bare[0]}/30`);
  await setUp(sandbox, second.namespace, `${bare[1]}/30`);
  const limit = { limitClient: first.namespace, limitEndpoint: second.namespace };
  return { client, endpoint, wireIp: wireAddresses(1).endpoint, ...limit };
}

/** Made with iproute2, so that the limit owes nothing to our own netlink code. */
async function bareTunnel(
  sandbox: Sandbox,
  namespace: NetworkNamespace,
  { local, remote }: { readonly local: string; readonly remote: string },
): Promise<void> {
  const kind = ['type', 'vxlan', 'id', '77', 'dstport', '4790', 'local', local, 'remote', remote];
  const command = ['ip', 'link', 'add', 'bare', ...kind] as [string, ...string[]];
  const { exitCode, stderr } = await sandbox.run(namespace, command);
  if (exitCode !== 0) throw new Error(`bare VXLAN device: ${stderr}`);
}

async function setUp(sandbox: Sandbox, namespace: NetworkNamespace, address: string) {
  const index = { register: 'link' };
  const store = { register: 'link', offset: 4 };
  await sandbox.program(namespace, [
    { message: getLinkByName('bare'), what: 'find the device', store },
    { message: changeLink({ index, isUp: true }), what: 'set the device up' },
    { message: addAddress(index, parsePrefix(address)), what: `add ${address}` },
  ]);
}
