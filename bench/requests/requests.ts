// Whole Requests in one process over `memory:`: how many a second with 64 at a time, without and with journals, and
// whether the slowest stay as fast when thousands of connections are live.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Platform } from '../../bin/roles/platform.ts';
import { openJournal } from '../../transports/journal/journal.ts';
import {
  judge,
  median,
  medianP99,
  type Progress,
  ratePerSecond,
  type RunSuite,
} from '../figure.ts';
import { type BenchClients, benchClients, benchPlatform, memorySite, parts } from './mesh.ts';

const suite = 'requests';
const inFlight = 64;
const perRound = 3_000;
const rounds = 3;
const warmUp = 1_000;
const fewLive = 10;
const manyLive = 5_000;
/** Sequential Requests that are timed at each number of live connections, in stretches of 500. */
const samples = 2_500;

type OpenJournal = (platform: Platform, name: string) => ReturnType<typeof openJournal>;

export const run: RunSuite = async (progress) => {
  const folder = await mkdtemp(join(tmpdir(), 'vwire-bench-'));
  try {
    const plain = await inOneProcess(progress, 'without journals');
    const journaled = await inOneProcess(progress, 'with journals', ({ clock, log }, name) =>
      openJournal({ directory: folder, name, fsync: 'interval', log, clock }),
    );
    const latency = await latencies(progress);
    const rate = { suite, unit: 'per s' };
    const p99 = { suite, unit: 'ms', value: medianP99(latency.many) };
    return [
      judge(
        { ...rate, name: 'whole Requests in one process', value: plain, note: 'journals off' },
        { of: 'value', atLeast: 3_000 },
      ),
      judge({
        ...rate,
        name: 'whole Requests in one process, journals on',
        value: journaled,
        limitName: 'journals off',
        limitValue: plain,
      }),
      judge(
        {
          ...p99,
          name: `one Request with ${manyLive} live connections, p99`,
          limitName: `with ${fewLive} live`,
          limitValue: medianP99(latency.few),
        },
        { of: 'ratio', atMost: 1.5 },
      ),
      judge({
        suite,
        unit: 'ms',
        name: `one Request with ${manyLive} live connections, median`,
        value: median(latency.many),
        limitName: `with ${fewLive} live`,
        limitValue: median(latency.few),
      }),
    ];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

async function mesh(open?: OpenJournal): Promise<{ clients: BenchClients; platform: Platform }> {
  const platform = await benchPlatform('bench', undefined);
  await parts.registry(platform, memorySite);
  await parts.manager(platform, memorySite, await open?.(platform, 'manager'));
  await parts.forwarder(platform, memorySite, await open?.(platform, 'forwarder'));
  await parts.endpoint(platform, memorySite);
  return { clients: benchClients(platform, memorySite), platform };
}

/** The median of rounds, in each of which that many clients connect and then close. */
async function inOneProcess(progress: Progress, what: string, open?: OpenJournal): Promise<number> {
  const { clients, platform } = await mesh(open);
  await ratePerSecond(warmUp, inFlight, () => clients.connect());
  await closeAll(clients);
  const rates: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`${what}, round ${round} of ${rounds}`);
    rates.push(await ratePerSecond(perRound, inFlight, () => clients.connect()));
    await closeAll(clients);
  }
  await platform.stop(5_000);
  return median(rates);
}

async function latencies(
  progress: Progress,
): Promise<{ readonly few: readonly number[]; readonly many: readonly number[] }> {
  const { clients, platform } = await mesh();
  await ratePerSecond(warmUp, inFlight, () => clients.connect());
  await closeAll(clients);
  progress(`one Request at a time, ${fewLive} live connections`);
  const few = await atThatMany(clients, fewLive);
  progress(`one Request at a time, ${manyLive} live connections`);
  const many = await atThatMany(clients, manyLive);
  await platform.stop(5_000);
  return { few, many };
}

/** Times Requests one after the other; each is closed again, so that the number of live ones stays. */
async function atThatMany(clients: BenchClients, live: number): Promise<readonly number[]> {
  await ratePerSecond(live - clients.connected, inFlight, () => clients.connect());
  const times: number[] = [];
  for (let sample = 0; sample < samples; sample += 1) {
    times.push(await clients.connect());
    await clients.closeLast();
  }
  return times;
}

async function closeAll(clients: BenchClients): Promise<void> {
  await ratePerSecond(clients.connected, inFlight, () => clients.closeLast());
}
