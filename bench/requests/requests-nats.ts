// Whole Requests over NATS, each part in a process of its own: client (this one), manager, forwarder and Endpoint, and
// beside them the registry, which no Request asks. The limit is how many bare round trips a second the same
// nats-server carries between two processes with as many in flight.

import { connect } from '@nats-io/transport-node';
import { judge, median, type Progress, ratePerSecond, type RunSuite } from '../figure.ts';
import { benchClients, benchPlatform, natsSite } from './mesh.ts';
import { echoSubject } from './part-process.ts';
import { type PartProcesses, startParts } from './parts.ts';

const suite = 'requests-nats';
const inFlight = 64;
const perRound = 2_000;
const rounds = 3;
const warmUp = 1_000;
const roundTrips = 30_000;
/** About what a Request of this mesh weighs. */
const echoBytes = 600;

export const run: RunSuite = async (progress) => {
  const processes = await startParts();
  try {
    const raw = await rawRoundTrips(processes, progress);
    const value = await requests(processes, progress);
    return [
      judge(
        {
          suite,
          name: 'whole Requests, four processes',
          value,
          unit: 'per s',
          limitName: 'bare NATS round trips',
          limitValue: raw,
          note: 'journals off',
        },
        { of: 'value', atLeast: 800 },
      ),
    ];
  } finally {
    await processes.stop();
  }
};

async function rawRoundTrips(processes: PartProcesses, progress: Progress): Promise<number> {
  progress('bare NATS round trips');
  await processes.start({ parts: [['echo', 'a']] });
  const connection = await connect({ servers: processes.natsUrl, noAsyncTraces: true });
  const bytes = new Uint8Array(echoBytes);
  const call = () => connection.request(echoSubject, bytes, { timeout: 10_000 });
  await ratePerSecond(roundTrips / 10, inFlight, call);
  const rate = await ratePerSecond(roundTrips, inFlight, call);
  await connection.close();
  return rate;
}

async function requests(processes: PartProcesses, progress: Progress): Promise<number> {
  for (const part of ['registry', 'manager', 'forwarder', 'endpoint'] as const) {
    await processes.start({ parts: [[part, 'a']] });
  }
  const platform = await benchPlatform('client', processes.natsUrl);
  const clients = benchClients(platform, natsSite('a'));
  const closeAll = () => ratePerSecond(clients.connected, inFlight, () => clients.closeLast());
  await ratePerSecond(warmUp, inFlight, () => clients.connect());
  await closeAll();
  const rates: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`);
    rates.push(await ratePerSecond(perRound, inFlight, () => clients.connect()));
    await closeAll();
  }
  await platform.stop(5_000);
  return median(rates);
}
