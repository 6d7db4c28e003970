// Protects the main promise: a client that asks for a service by name gets a wire that carries packets, whatever the
// payload, the address family, and whether the Endpoint is on the same node.

import { expect, test } from 'vitest';

import type { MeshWorkload } from '../../bin/demo/mesh.ts';
import { linksOf } from '../../bin/demo/namespace-links.ts';
import { expectPings, expectTransfer, interfacesOf } from '../sandbox/mesh-probes.ts';
import { describeMesh } from '../sandbox/mesh.ts';

interface Kind {
  readonly title: string;
  readonly isRemote: boolean;
  readonly payload: 'IP' | 'ETHERNET';
  readonly cidrPrefix: string;
  readonly addresses: number;
}

const kinds: readonly Kind[] = [
  {
    title: 'local, IP over IPv4',
    isRemote: false,
    payload: 'IP',
    cidrPrefix: '172.16.1.0/24',
    addresses: 1,
  },
  {
    title: 'local, ETHERNET, dual stack',
    isRemote: false,
    payload: 'ETHERNET',
    cidrPrefix: '[172.16.2.0/24],[2001:db8:2::/64]',
    addresses: 2,
  },
  {
    title: 'remote, ETHERNET over IPv4',
    isRemote: true,
    payload: 'ETHERNET',
    cidrPrefix: '172.16.3.0/24',
    addresses: 1,
  },
  {
    title: 'remote, IP over IPv6',
    isRemote: true,
    payload: 'IP',
    cidrPrefix: '2001:db8:4::/64',
    addresses: 1,
  },
  {
    title: 'remote, IP, dual stack',
    isRemote: true,
    payload: 'IP',
    cidrPrefix: '[172.16.5.0/24],[2001:db8:5::/64]',
    addresses: 2,
  },
];

describeMesh('a wire', (mesh) => {
  test.each(kinds)('$title', async (kind) => {
    const { processes, nodes, netlink, namespace } = mesh();
    const number = kinds.indexOf(kind);
    const service = `service-${number}`;
    const on = (name: string, node: MeshWorkload['node']): MeshWorkload => ({
      name: `${name}-${number}`,
      node,
      namespace: namespace(),
    });
    const [near, far] = nodes;
    const endpoint = on('server', kind.isRemote ? far : near);
    const client = on('client', near);
    await processes.startEndpoint(endpoint, {
      NSM_SERVICE_NAMES: service,
      NSM_PAYLOAD: kind.payload,
      NSM_CIDR_PREFIX: kind.cidrPrefix,
    });
    await processes.startClient(client, { NSM_NETWORK_SERVICES: `kernel://${service}/nsm-1` });
    const report = await processes.clients.connected(client.name, 15_000);

    expect(report.path).toHaveLength(kind.isRemote ? 6 : 4);
    expect(report.addresses).toHaveLength(kind.addresses);
    const [own, ...others] = await interfacesOf(netlink, client.namespace);
    expect(others).toEqual([]);
    expect(own).toMatchObject({ name: 'nsm-1', isUp: true });
    expect(own?.addresses).toEqual([...(report.addresses ?? [])].sort());
    const tunnels = (await linksOf(netlink, near.namespace.url)).filter(
      ({ vxlan, kind: linkKind }) => vxlan !== undefined || linkKind === 'wireguard',
    );
    expect(tunnels).toHaveLength(kind.isRemote ? 1 : 0);

    const hosts = (cidrs: readonly string[] = []) => cidrs.map((cidr) => cidr.split('/')[0] ?? '');
    for (const address of hosts(report.peerAddresses)) {
      await expectPings(client.namespace, address);
      await expectTransfer(client.namespace, endpoint.namespace, address);
    }
    for (const address of hosts(report.addresses)) {
      await expectPings(endpoint.namespace, address);
      await expectTransfer(endpoint.namespace, client.namespace, address);
    }
  });
});
