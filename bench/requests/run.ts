// Whole Requests (client, manager, forwarder, Endpoint) over the simulated data plane: how many a second in one
// process, and whether the slowest stay as fast with thousands of live connections. Run: npx tsx bench/requests/run.ts

import { benchClients, benchPlatform, memoryPlaces, parts } from './mesh.ts';

const inFlight = 64;
const measured = Number(process.env['N'] ?? 5_000);

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

async function oneProcess() {
  const platform = await benchPlatform('bench', undefined);
  for (const part of [parts.registry, parts.manager, parts.forwarder, parts.endpoint]) {
    await part(platform, memoryPlaces);
  }
  const clients = benchClients(platform, memoryPlaces);
  const few: number[] = [];
  for (let index = 0; index < 200; index += 1) await clients.connect();
  await clients.closeAll(8);
  const again = benchClients(platform, memoryPlaces);
  for (let index = 0; index < 10; index += 1) await again.connect();
  const sinceMs = performance.now();
  await flood(again, measured);
  const perSecond = (measured / (performance.now() - sinceMs)) * 1000;
  const many: number[] = [];
  for (let index = 0; index < 1000; index += 1) many.push(await again.connect());
  return { perSecond, many, few, connected: again.connected };
}

async function flood(clients: { connect(): Promise<number> }, count: number): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await clients.connect();
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
}

const result = await oneProcess();
console.log({
  perSecond: Math.round(result.perSecond),
  p50: percentile(result.many, 0.5),
  p99: percentile(result.many, 0.99),
  n: result.connected,
});
process.exit(0);
