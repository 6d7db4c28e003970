// Protects wires from each other and from the underlay: a frame that is sent on one wire, whatever its addresses and
// type, is seen on no interface of any namespace that is not part of this wire; a VXLAN packet with the right VNI from
// a foreign source is not delivered.

import { randomBytes } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';

import { linksOf } from '../../bin/demo/namespace-links.ts';
import { parseIp } from '../../protocols/netlink/ip-address.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import { addressesOf, expectPingsBothWays, interfacesOf } from '../sandbox/mesh-probes.ts';
import { openTap } from '../sandbox/mesh-tap.ts';

/** One interface somewhere. */
interface Place {
  readonly namespace: NetworkNamespace;
  readonly index: number;
  /** For people. */
  readonly name: string;
}

interface LiveWire {
  readonly connection: Connection;
  readonly clientEnd: Place;
  readonly endpointEnd: Place;
  /** Every interface that the wire's frames may be seen on. */
  readonly places: readonly Place[];
}

async function placesIn(mesh: TestMesh, namespace: NetworkNamespace, where: string) {
  const links = await linksOf(mesh.netlink, namespace.url);
  return links.map(({ index, name, alias }) => ({
    namespace,
    index,
    name: `${where} ${name}`,
    alias,
    plainName: name,
  }));
}

async function describeWire(
  mesh: TestMesh,
  connection: Connection,
  ends: { readonly client: NetworkNamespace; readonly endpoint: NetworkNamespace },
): Promise<LiveWire> {
  const ids = (connection.path?.pathSegments ?? []).map(({ id }) => `w=${id} `);
  const nodeLinks = (
    await Promise.all(mesh.nodes.map(({ namespace, name }) => placesIn(mesh, namespace, name)))
  ).flat();
  const own = nodeLinks.filter(({ alias }) => ids.some((id) => alias.includes(id)));
  const isRemote = ids.length === 6;
  expect(own).toHaveLength(isRemote ? 4 : 2);
  const underlays = nodeLinks.filter(({ plainName }) => isRemote && plainName === 'underlay');
  // The last forwarder's tag tells the name that the Endpoint's end has.
  const named = own.find(({ alias }) => alias.includes('e=endpoint n='))?.alias ?? '';
  const endName = decodeURIComponent(/ n=(\S+)/.exec(named)?.[1] ?? '');
  const clientEnd = (await placesIn(mesh, ends.client, 'client')).find(
    ({ plainName }) => plainName === connection.mechanism?.parameters['name'],
  );
  const endpointEnd = (await placesIn(mesh, ends.endpoint, 'endpoint')).find(
    ({ plainName }) => plainName === endName,
  );
  if (clientEnd === undefined || endpointEnd === undefined) expect.fail('a wire without ends');
  return {
    connection,
    clientEnd,
    endpointEnd,
    places: [clientEnd, endpointEnd, ...own, ...underlays],
  };
}

const broadcast = 'ff:ff:ff:ff:ff:ff';
const experimental = 0x88b5;

const octets = (mac: string) => mac.split(':').map((octet) => Number.parseInt(octet, 16));

function ethernet(to: string, from: string, type: readonly number[], payload: Uint8Array) {
  return Uint8Array.from([...octets(to), ...octets(from), ...type, ...payload]);
}

/** A packet of IPv4; protocol 253 is for experiments (RFC 3692). */
function ipv4(from: string, to: string, payload: Uint8Array, protocol = 253): Uint8Array {
  const header = new Uint8Array(20);
  const view = new DataView(header.buffer);
  view.setUint16(0, 0x4500);
  view.setUint16(2, header.length + payload.length);
  view.setUint16(8, (64 << 8) | protocol);
  header.set(parseIp(from).bytes, 12);
  header.set(parseIp(to).bytes, 16);
  let sum = 0;
  for (let offset = 0; offset < 20; offset += 2) sum += view.getUint16(offset);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(10, ~sum & 0xffff);
  return Uint8Array.from([...header, ...payload]);
}

/** Numbered payloads that are found again inside whatever carries them. */
function createMarkers() {
  const magic = randomBytes(12);
  return {
    make(number: number): Uint8Array {
      const marker = new Uint8Array(magic.length + 4);
      marker.set(magic);
      new DataView(marker.buffer).setUint32(magic.length, number);
      return marker;
    },
    numberIn(bytes: Uint8Array): number | undefined {
      const at = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(magic);
      if (at < 0) return undefined;
      return new DataView(bytes.buffer, bytes.byteOffset + at + magic.length).getUint32(0);
    },
  };
}

const bigEndian = (value: number) => [value >>> 8, value & 255];
const keyOf = ({ namespace, index }: Pick<Place, 'namespace' | 'index'>) =>
  `${namespace.inodeUrl} ${index}`;

function isAlone(mesh: () => TestMesh): void {
  async function fourWires(): Promise<readonly LiveWire[]> {
    const { workloads, nodes } = mesh();
    const [near, far] = nodes;
    const cidr = [['172.16.1.0/24']];
    const local = await workloads.endpoint({ node: near, services: ['local'], cidr });
    const remote = await workloads.endpoint({
      node: far,
      services: ['remote'],
      cidr: [['172.16.2.0/24']],
      payload: 'ETHERNET',
    });
    // One client with a local and a remote wire, and one more client of each Endpoint.
    const both = await workloads.client({
      node: near,
      services: 'kernel://local/nsm-1,kernel://remote/nsm-2',
    });
    const second = await workloads.client({ node: near, services: 'kernel://local/nsm-1' });
    const third = await workloads.client({ node: near, services: 'kernel://remote/nsm-1' });
    const rows = [
      [await both.connection(0), both, local],
      [await both.connection(1), both, remote],
      [await second.connection(), second, local],
      [await third.connection(), third, remote],
    ] as const;
    for (const [connection, client, endpoint] of rows) {
      await expectPingsBothWays(connection, client.namespace, endpoint.namespace);
    }
    return Promise.all(
      rows.map(([connection, client, endpoint]) =>
        describeWire(mesh(), connection, {
          client: client.namespace,
          endpoint: endpoint.namespace,
        }),
      ),
    );
  }

  test('no frame of it is seen anywhere else', async () => {
    const { nodes, netlink } = mesh();
    const wires = await fourWires();
    const namespaces = new Set([
      ...nodes.map(({ namespace }) => namespace),
      ...wires.flatMap(({ clientEnd, endpointEnd }) => [
        clientEnd.namespace,
        endpointEnd.namespace,
      ]),
    ]);
    const taps = new Map([...namespaces].map((each) => [each, openTap(each)]));
    onTestFinished(() => {
      for (const tap of taps.values()) tap.close();
    });
    const macs = await Promise.all(
      [...namespaces].map(async (each) =>
        (await interfacesOf(netlink, each)).map(({ macAddress }) => macAddress),
      ),
    );
    const destinations = [
      broadcast,
      '33:33:00:00:00:01',
      '02:00:00:00:00:99',
      ...macs.flat().filter((mac) => mac.length === 17),
    ];
    const addresses = wires.flatMap(({ connection }) => {
      const { client, endpoint } = addressesOf(connection);
      return [...client, ...endpoint];
    });

    const markers = createMarkers();
    const sent: { readonly wire: LiveWire; readonly to: Place }[] = [];
    for (const wire of wires) {
      const own = addressesOf(wire.connection);
      const ways = [
        [wire.clientEnd, wire.endpointEnd, own.client[0] ?? ''],
        [wire.endpointEnd, wire.clientEnd, own.endpoint[0] ?? ''],
      ] as const;
      for (const [from, to, address] of ways) {
        const facts = await interfacesOf(netlink, from.namespace);
        const mac = facts.find(({ index }) => index === from.index)?.macAddress ?? '';
        const tap = taps.get(from.namespace);
        const send = (frame: (marker: Uint8Array) => Uint8Array): void => {
          tap?.send(from.index, frame(markers.make(sent.length)));
          sent.push({ wire, to });
        };
        for (const other of destinations) {
          send((marker) => ethernet(other, mac, bigEndian(experimental), marker));
          send((marker) =>
            ethernet(other, mac, [0x81, 0, 0, 5, ...bigEndian(experimental)], marker),
          );
        }
        for (const other of addresses) {
          send((marker) => ethernet(broadcast, mac, [8, 0], ipv4(address, other, marker)));
        }
      }
    }

    const seenOn = sent.map(() => new Set<string>());
    const look = (): void => {
      for (const tap of taps.values()) {
        for (const { index, bytes } of tap.take()) {
          const number = markers.numberIn(bytes);
          if (number === undefined) continue;
          seenOn[number]?.add(keyOf({ namespace: tap.namespace, index }));
        }
      }
    };
    await eventually('every frame is at the other end', 5_000, () => {
      look();
      const missing = sent.filter(({ to }, number) => seenOn[number]?.has(keyOf(to)) !== true);
      expect(missing.length).toBe(0);
    });
    // What might stray has had the time of these.
    for (const { connection, clientEnd, endpointEnd } of wires) {
      await expectPingsBothWays(connection, clientEnd.namespace, endpointEnd.namespace);
    }
    look();
    const strays = sent.flatMap(({ wire }, number) => {
      const allowed = new Set(wire.places.map(keyOf));
      return [...(seenOn[number] ?? [])].filter((key) => !allowed.has(key));
    });
    expect(strays).toEqual([]);
    expect(sent.length).toBeGreaterThan(100);
  });

  test.each(['to the Endpoint', 'to the client'] as const)(
    'a VXLAN packet from a foreign source stays outside, %s',
    async (way) => {
      const { nodes, netlink } = mesh();
      const [from, to] = way === 'to the Endpoint' ? nodes : [nodes[1], nodes[0]];
      const [wire] = (await fourWires()).filter(
        ({ connection }) => connection.path?.pathSegments.length === 6,
      );
      if (wire === undefined) expect.fail('no wire is remote');
      const end = way === 'to the Endpoint' ? wire.endpointEnd : wire.clientEnd;
      const ids = (wire.connection.path?.pathSegments ?? []).map(({ id }) => `w=${id} `);
      const tunnel = (await linksOf(netlink, to.namespace.url)).find(
        ({ vxlan, alias }) => vxlan !== undefined && ids.some((id) => alias.includes(id)),
      );
      const vni = tunnel?.vxlan?.vni ?? 0;
      const underlayOf = async (node: typeof from) =>
        (await linksOf(netlink, node.namespace.url)).find(({ name }) => name === 'underlay');
      const [own, other] = [await underlayOf(from), await underlayOf(to)];
      const inside = await interfacesOf(netlink, end.namespace);
      const target = inside.find(({ index }) => index === end.index)?.macAddress ?? '';

      const [near, far, last] = [from.namespace, to.namespace, end.namespace].map(openTap);
      if (near === undefined || far === undefined || last === undefined) expect.fail('no taps');
      onTestFinished(() => {
        for (const tap of [near, far, last]) tap.close();
      });
      const markers = createMarkers();
      let sent = 0;
      const send = (source: string, reserved: number, port: number): number => {
        const marker = markers.make(sent);
        const inner = ethernet(target, '02:00:00:00:00:99', bigEndian(experimental), marker);
        const header = [8, 0, 0, 0, vni >>> 16, (vni >>> 8) & 255, vni & 255, reserved];
        const length = 16 + inner.length;
        const udp = [...bigEndian(port), ...bigEndian(4789), ...bigEndian(length), 0, 0];
        const payload = Uint8Array.from([...udp, ...header, ...inner]);
        const packet = ipv4(source, to.tunnelIp, payload, 17);
        const frame = ethernet(other?.macAddress ?? '', own?.macAddress ?? '', [8, 0], packet);
        near.send(own?.index ?? 0, frame);
        return sent++;
      };
      const forged = ['172.31.255.9', '192.0.2.1', to.tunnelIp].flatMap((source) =>
        [0, 1, 255].flatMap((reserved) =>
          [4789, 50_000].map((port) => send(source, reserved, port)),
        ),
      );
      const right = send(from.tunnelIp, 0, 50_000);

      const arrived = new Set<number>();
      const delivered = new Set<number>();
      await eventually('all have arrived, the right one inside', 5_000, () => {
        for (const { index, bytes } of far.take()) {
          const number = markers.numberIn(bytes);
          if (index === other?.index && number !== undefined) arrived.add(number);
        }
        for (const { bytes } of last.take()) delivered.add(markers.numberIn(bytes) ?? -1);
        expect(arrived.size).toBe(sent);
        expect(delivered).toContain(right);
      });
      expect(forged.filter((number) => delivered.has(number))).toEqual([]);
    },
  );
}

/** Frames of any type, which WireGuard would not carry. */
const env = { NSM_MECHANISM_PRIORITY: 'VXLAN' };
describeMesh('a wire is alone', isAlone, { env });
