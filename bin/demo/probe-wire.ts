// Proof that a wire carries packets: pings and a TCP transfer both ways from inside the workloads' namespaces, and the
// counters of the interfaces at both ends, which must have risen by at least the pings sent.

import { describeError } from '../../protocols/errors.ts';
import type { LinkCounters } from '../../protocols/netlink/link.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { ping } from '../../transports/icmp/ping.ts';
import { transferOverTcp } from '../../transports/netlink/tcp-transfer.ts';
import type { ClientReport } from './client-reports.ts';
import type { MeshWorkload } from './mesh.ts';
import { linksOf, readInterface } from './namespace-links.ts';
import type { DemoPair } from './topology.ts';

export interface WireProof {
  readonly service: string;
  /** Names of the path segments. */
  readonly path: readonly string[];
  /** Echo requests of both directions. */
  readonly sent: number;
  readonly received: number;
  /** That arrived over TCP, of both directions; undefined where nothing is sent. */
  readonly tcpBytes: number | undefined;
  /** From the client's first try to its connection. */
  readonly requestMs: number;
  readonly clientAddress: string;
  readonly endpointAddress: string;
  readonly rttMs: number | undefined;
  readonly findings: readonly string[];
}

/** Echo requests of each direction. */
export const pingsPerWay = 5;
const intervalMs = 20;
const timeoutMs = 1_000;
/** Sent over TCP in each direction: more than any socket buffers. */
export const tcpBytesPerWay = 8 * 1024 * 1024;
const tcpTimeoutMs = 10_000;

interface End {
  readonly workload: MeshWorkload;
  readonly interfaceName: string;
  readonly address: string;
}

export async function probeWire(
  netlink: Netlink,
  pair: DemoPair,
  report: ClientReport,
): Promise<WireProof> {
  const findings: string[] = [];
  const client: End = {
    workload: pair.client,
    interfaceName: report.interface ?? '',
    address: hostOf(report.addresses),
  };
  const endpoint: End = {
    workload: pair.endpoint,
    interfaceName: await wireInterface(netlink, pair.endpoint),
    address: hostOf(report.peerAddresses),
  };
  const before = [await countersOf(netlink, client), await countersOf(netlink, endpoint)];
  const there = await pingFrom(client, endpoint, findings);
  const back = await pingFrom(endpoint, client, findings);
  const sent = there.sent + back.sent;
  for (const [index, end] of [client, endpoint].entries()) {
    findings.push(...(await checkInterface(netlink, end, before[index], sent)));
  }
  const tcpBytes =
    (await sendOverTcp(client, endpoint, findings)) +
    (await sendOverTcp(endpoint, client, findings));
  const rtts = [...there.rttsMs, ...back.rttsMs].toSorted((a, b) => a - b);
  return {
    service: pair.service,
    path: report.path ?? [],
    sent,
    received: there.received + back.received,
    tcpBytes,
    requestMs: report.afterMs,
    clientAddress: client.address,
    endpointAddress: endpoint.address,
    rttMs: rtts[Math.floor(rtts.length / 2)],
    findings,
  };
}

async function pingFrom(from: End, to: End, findings: string[]): ReturnType<typeof ping> {
  const what = `ping from ${from.workload.name} to ${to.workload.name} (${to.address})`;
  try {
    const result = await ping({
      namespace: from.workload.namespace.url,
      destination: to.address,
      count: pingsPerWay,
      intervalMs,
      timeoutMs,
    });
    if (result.received < result.sent) {
      findings.push(`${what}: ${result.received} of ${result.sent} replies`);
    }
    return result;
  } catch (error) {
    findings.push(`${what}: ${describeError(error)}`);
    return { sent: pingsPerWay, received: 0, rttsMs: [] };
  }
}

async function sendOverTcp(from: End, to: End, findings: string[]): Promise<number> {
  const what = `TCP from ${from.workload.name} to ${to.workload.name} (${to.address})`;
  try {
    const arrived = await transferOverTcp({
      from: from.workload.namespace.url,
      to: to.workload.namespace.url,
      address: to.address,
      bytes: tcpBytesPerWay,
      timeoutMs: tcpTimeoutMs,
    });
    if (arrived < tcpBytesPerWay) {
      findings.push(`${what}: ${arrived} of ${tcpBytesPerWay} bytes`);
    }
    return arrived;
  } catch (error) {
    findings.push(`${what}: ${describeError(error)}`);
    return 0;
  }
}

async function checkInterface(
  netlink: Netlink,
  end: End,
  before: LinkCounters | undefined,
  sent: number,
): Promise<readonly string[]> {
  const name = `${end.interfaceName} of ${end.workload.name}`;
  const link = await readInterface(netlink, end.workload.namespace.url, end.interfaceName);
  if (link === undefined) return [`interface ${name} is not there`];
  const state = link.isUp ? [] : [`interface ${name} is down`];
  const risen = (now: bigint | undefined, then: bigint | undefined): number =>
    Number((now ?? 0n) - (then ?? 0n));
  const received = risen(link.counters?.rxPackets, before?.rxPackets);
  const transmitted = risen(link.counters?.txPackets, before?.txPackets);
  if (received >= sent && transmitted >= sent) return state;
  // Each way counts at each end: a request out is a reply in.
  return [
    ...state,
    `interface ${name} counted ${received} packets in and ${transmitted} out, expected at least ${sent} each`,
  ];
}

async function countersOf(netlink: Netlink, end: End): Promise<LinkCounters | undefined> {
  const link = await readInterface(netlink, end.workload.namespace.url, end.interfaceName);
  return link?.counters;
}

/** The one link of an Endpoint's namespace beside the loopback. */
async function wireInterface(netlink: Netlink, workload: MeshWorkload): Promise<string> {
  const links = await linksOf(netlink, workload.namespace.url);
  return links.find(({ kind }) => kind === 'veth')?.name ?? '';
}

function hostOf(addresses: readonly string[] | undefined): string {
  return (addresses?.[0] ?? '').split('/')[0] ?? '';
}
