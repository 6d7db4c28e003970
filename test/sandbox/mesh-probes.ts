// Proof from inside the workloads' namespaces that a wire carries packets: pings, a steady stream of them, a TCP
// transfer, and what the kernel says of an interface.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

import { linksOf } from '../../bin/demo/namespace-links.ts';
import { dumpAddresses, parseAddress } from '../../protocols/netlink/address.ts';
import { parseIp } from '../../protocols/netlink/ip-address.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { ping } from '../../transports/icmp/ping.ts';
import { checked, closeOnExec, libc, socketFamily } from '../../transports/netlink/libc.ts';
import { inNamespace } from '../../transports/netlink/namespace-switch.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';

/** SOCK_STREAM. */
const streamSocket = 1;
const transferPort = 7007;
const transferBytes = 4 << 20;

export interface InterfaceFacts {
  readonly index: number;
  readonly name: string;
  readonly macAddress: string;
  readonly isUp: boolean;
  /** In CIDR form, sorted; no link-local ones. */
  readonly addresses: readonly string[];
}

/** Every interface of the namespace but the loopback, in the order of their making. */
export async function interfacesOf(
  netlink: Netlink,
  { url: namespace }: NetworkNamespace,
): Promise<readonly InterfaceFacts[]> {
  const links = await linksOf(netlink, namespace);
  const request = { message: dumpAddresses(), what: 'list addresses' };
  const step = { namespace, protocol: 'route' as const, requests: [request] };
  const outcome = await netlink.execute([step], { timeoutMs: 10_000 });
  if (!outcome.ok) throw new Error(`${outcome.failure.what}: ${outcome.failure.found}`);
  const messages = outcome.answers[0]?.[0]?.messages ?? [];
  const addresses = messages.flatMap((message) => parseAddress(message) ?? []);
  return links
    .filter(({ name }) => name !== 'lo')
    .map(({ index, name, macAddress, isUp }) => ({
      index,
      name,
      macAddress,
      isUp,
      addresses: addresses
        .filter((each) => each.index === index && !each.prefix.startsWith('fe80'))
        .map(({ prefix }) => prefix)
        .sort(),
    }));
}

/** Addresses of the client and the Endpoint, without prefix lengths, in the order of the pools. */
export function addressesOf(connection: Connection): {
  readonly client: readonly string[];
  readonly endpoint: readonly string[];
} {
  const ip = connection.context?.ipContext;
  const hosts = (cidrs: readonly string[] = []) => cidrs.map((cidr) => cidr.split('/')[0] ?? '');
  return { client: hosts(ip?.srcIpAddrs), endpoint: hosts(ip?.dstIpAddrs) };
}

/** Some pings, none of which may be lost. */
export async function expectPings(from: NetworkNamespace, destination: string): Promise<void> {
  const result = await ping({
    namespace: from.url,
    destination,
    count: 5,
    intervalMs: 5,
    timeoutMs: 2_000,
  });
  expect(result, `pings to ${destination}`).toMatchObject({ sent: 5, received: 5 });
}

/** True where at least one of some pings is answered. */
export async function answersPings(from: NetworkNamespace, destination: string): Promise<boolean> {
  const options = { namespace: from.url, destination, count: 3, intervalMs: 5, timeoutMs: 200 };
  try {
    return (await ping(options)).received > 0;
  } catch {
    return false;
  }
}

/** Every address of the connection, both ways. */
export async function expectPingsBothWays(
  connection: Connection,
  client: NetworkNamespace,
  endpoint: NetworkNamespace,
): Promise<void> {
  const addresses = addressesOf(connection);
  expect(addresses.client.length).toBeGreaterThan(0);
  for (const address of addresses.endpoint) await expectPings(client, address);
  for (const address of addresses.client) await expectPings(endpoint, address);
}

/** A connection from one namespace to the other over which some megabytes go there and come back unchanged. */
export async function expectTransfer(
  from: NetworkNamespace,
  to: NetworkNamespace,
  address: string,
): Promise<void> {
  const server = createServer((socket) => void pipeline(socket, socket).catch(() => {}));
  server.listen({ fd: tcpSocket(to, address, 'bind') });
  await once(server, 'listening');
  try {
    // The kernel completes the connection before the server takes it, so connecting does not wait for this process.
    const socket = new Socket({ fd: tcpSocket(from, address, 'connect') });
    const data = randomBytes(transferBytes);
    socket.end(data);
    const found = createHash('sha256');
    for await (const chunk of socket) found.update(chunk as Uint8Array);
    const expected = createHash('sha256').update(data).digest('hex');
    expect(found.digest('hex'), `what came back from ${address}`).toBe(expected);
  } finally {
    server.close();
  }
}

/** A descriptor, to be owned by whoever wraps it. */
function tcpSocket(namespace: NetworkNamespace, address: string, how: 'bind' | 'connect'): number {
  const { bytes } = parseIp(address);
  const isIpv4 = bytes.length === 4;
  const family = isIpv4 ? socketFamily.inet : socketFamily.inet6;
  // sockaddr_in and sockaddr_in6: family in host order, port in network order, then the address.
  const target = new Uint8Array(isIpv4 ? 16 : 28);
  target.set(new Uint8Array(new Uint16Array([family]).buffer));
  new DataView(target.buffer).setUint16(2, transferPort);
  target.set(bytes, isIpv4 ? 4 : 8);
  const what = `${how} to ${address} port ${transferPort}`;
  const socket = inNamespace(namespace.descriptor, () =>
    checked(libc.socket(family, streamSocket | closeOnExec, 0), what),
  );
  checked(libc[how](socket, target, target.length), what);
  return socket;
}

export interface GapPing {
  readonly latest: GapReport;
  stop(): Promise<GapReport>;
}

interface GapReport {
  readonly sent: number;
  readonly received: number;
  readonly longestGapMs: number;
}

/** 1,000 pings a second that go on whatever becomes of them; from a process of its own. */
export async function startGapPing(from: NetworkNamespace, destination: string): Promise<GapPing> {
  const { latest, stop } = await startPinging<GapReport>(from, 'gap-ping-child.ts', [destination]);
  return {
    get latest() {
      return latest();
    },
    stop,
  };
}

export interface SteadyPing {
  /** Answered so far. */
  readonly received: number;
  /** Ends with the round that is under way. */
  stop(): Promise<{ readonly sent: number; readonly received: number }>;
}

/** 1,000 pings a second from a process of its own, so that nothing else that the test does slows it down. */
export async function startSteadyPing(
  from: NetworkNamespace,
  destination: string,
  intervalMs = 1,
): Promise<SteadyPing> {
  const { latest, stop } = await startPinging<{ sent: number; received: number }>(
    from,
    'steady-ping-child.ts',
    [destination, String(intervalMs)],
  );
  return {
    get received() {
      return latest().received;
    },
    stop,
  };
}

async function startPinging<Report>(
  from: NetworkNamespace,
  program: string,
  args: readonly string[],
): Promise<{ readonly latest: () => Report; readonly stop: () => Promise<Report> }> {
  const child = fileURLToPath(new URL(program, import.meta.url));
  const command = [process.execPath, '--import', 'tsx', child, ...args] as const;
  const process_ = spawnInNamespace(from.url, [...command], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(process_, 'exit');
  const lines = createInterface({ input: process_.stdout ?? process.stdin });
  const first = once(lines, 'line') as Promise<[string]>;
  const ended = once(lines, 'close');
  let total = JSON.parse((await first)[0]) as Report;
  lines.on('line', (line) => {
    total = JSON.parse(line) as Report;
  });
  return {
    latest: () => total,
    async stop() {
      process_.stdin?.end();
      await Promise.all([exited, ended]);
      return total;
    },
  };
}
