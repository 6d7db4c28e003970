// What security costs: whole Requests over gRPC on unix sockets, each part in a process of its own, with mutual TLS, tokens
// and every rule, against the same in plaintext without any. And what it does not cost: refreshes go on over the
// connections that are there, so that a handshake is made once per hop, however often a client refreshes.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPlatform, type PlatformOptions } from '../../bin/roles/platform.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { TestIdentities } from '../../test/sandbox/identities.ts';
import { judge, median, type Progress, ratePerSecond, type RunSuite } from '../figure.ts';
import { countHandshakes } from './handshakes.ts';
import { benchClients, grpcSite } from './mesh.ts';
import { type PartProcess, type PartProcesses, startParts } from './parts.ts';

const suite = 'requests-grpc';
const inFlight = 64;
const perRound = 1_000;
const rounds = 3;
const warmUp = 500;
const refreshes = 1_000;
const partNames = ['registry', 'manager', 'forwarder', 'endpoint'] as const;

type Security = Pick<PlatformOptions, 'insecure' | 'workloadApi'>;
type SecurityOf = (name: string) => Promise<Security>;

interface Costs {
  readonly rate: number;
  /** TLS handshakes in all processes, by both sides, while clients refreshed. */
  readonly handshakes: number;
}

export const run: RunSuite = async (progress) => {
  const identities = new TestIdentities();
  try {
    const plain = await measure(progress, 'plaintext', () => Promise.resolve({ insecure: true }));
    const proven = await measure(progress, 'mTLS and rules', async (name) => ({
      insecure: false,
      workloadApi: await identities.socketOf(name),
    }));
    return [
      judge({
        suite,
        name: 'whole Requests over gRPC with mTLS and rules, four processes',
        value: proven.rate,
        unit: 'per s',
        limitName: 'plaintext without rules',
        limitValue: plain.rate,
        note: 'journals off',
      }),
      judge(
        {
          suite,
          name: `TLS handshakes during ${refreshes} refreshes`,
          value: proven.handshakes,
          unit: 'in all',
        },
        { of: 'value', atMost: 0 },
      ),
    ];
  } finally {
    await identities.close();
  }
};

async function measure(progress: Progress, what: string, securityOf: SecurityOf): Promise<Costs> {
  const folder = await mkdtemp(join(tmpdir(), 'vwire-bench-'));
  const processes = await startParts({ hasBus: false });
  try {
    return await inProcesses(processes, { progress, what, securityOf, folder });
  } finally {
    await processes.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function inProcesses(
  processes: PartProcesses,
  {
    progress,
    what,
    securityOf,
    folder,
  }: { progress: Progress; what: string; securityOf: SecurityOf; folder: string },
): Promise<Costs> {
  const started: PartProcess[] = [];
  for (const part of partNames) {
    const grpc = { folder, security: await securityOf(part) };
    started.push(await processes.start({ parts: [[part, 'a']], grpc }));
  }
  const client = { name: 'client', log: silentLog, natsUrl: undefined };
  const platform = await createPlatform({ ...client, ...(await securityOf('client')) });
  const clients = benchClients(platform, grpcSite(folder));
  const closeAll = () => ratePerSecond(clients.connected, inFlight, () => clients.closeLast());
  await ratePerSecond(warmUp, inFlight, () => clients.connect());
  await closeAll();
  const rates: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`${what}, round ${round} of ${rounds}`);
    rates.push(await ratePerSecond(perRound, inFlight, () => clients.connect()));
    await closeAll();
  }
  progress(`${what}, ${refreshes} refreshes`);
  await clients.connect();
  const before = await handshakesOf(started);
  for (let refresh = 0; refresh < refreshes; refresh += 1) await clients.refresh(0);
  const handshakes = (await handshakesOf(started)) - before;
  await closeAll();
  await platform.stop(5_000);
  return { rate: median(rates), handshakes };
}

/** In this process and in those. */
async function handshakesOf(parts: readonly PartProcess[]): Promise<number> {
  const found = await Promise.all(parts.map((part) => part.ask('handshakes')));
  return found.reduce((sum, count) => sum + count, countHandshakes());
}
