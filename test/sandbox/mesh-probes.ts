// Proof from inside the workloads' namespaces that a wire carries packets: pings, a steady stream of them, a TCP
// transfer, and what the kernel says of an interface.

import { createInterface } from 'node:readline';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

import { linksOf } from '../../bin/demo/namespace-links.ts';
import { dumpAddresses, parseAddress } from '../../protocols/netlink/address.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { ping } from '../../transports/icmp/ping.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';

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

const child = (name: string): string[] => [
  '--import',
  'tsx',
  fileURLToPath(new URL(name, import.meta.url)),
];

/** A connection from one namespace to the other over which some megabytes go there and come back unchanged. */
export async function expectTransfer(
  from: NetworkNamespace,
  to: NetworkNamespace,
  address: string,
): Promise<void> {
  const run = (where: NetworkNamespace, ...args: string[]) =>
    spawnInNamespace(where.url, [process.execPath, ...child('transfer-child.ts'), ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  const server = run(to, 'serve', address);
  try {
    await firstLine(server.stdout);
    const client = run(from, 'send', address);
    expect(await firstLine(client.stdout), `a transfer to ${address}`).toBe('all came back');
    if (client.exitCode === null) await once(client, 'exit');
  } finally {
    server.kill('SIGKILL');
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
  }
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
): Promise<SteadyPing> {
  const command = [process.execPath, ...child('steady-ping-child.ts'), destination] as const;
  const process_ = spawnInNamespace(from.url, [...command], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(process_, 'exit');
  let total = { sent: 0, received: 0 };
  const lines = createInterface({ input: process_.stdout ?? process.stdin });
  lines.on('line', (line) => {
    total = JSON.parse(line) as typeof total;
  });
  const ended = once(lines, 'close');
  await once(lines, 'line');
  return {
    get received() {
      return total.received;
    },
    async stop() {
      process_.stdin?.end();
      await Promise.all([exited, ended]);
      return total;
    },
  };
}

async function firstLine(stream: NodeJS.ReadableStream | null): Promise<string> {
  if (stream === null) throw new Error('the child has no output');
  for await (const line of createInterface({ input: stream })) return line;
  throw new Error('the child ended without a word');
}
