// What 10,000 live connections cost the client's manager: memory, and CPU per refresh. The path is the longest of
// the acceptance, client, manager, forwarder, manager, forwarder, Endpoint, over NATS, with a token of real size in
// each segment. The manager has a process of its own; what is behind it shares another.

import { judge, type Progress, ratePerSecond, type RunSuite } from '../figure.ts';
import { benchClients, benchPlatform, natsSite } from '../requests/mesh.ts';
import { type PartProcess, type PartProcesses, startParts } from '../requests/parts.ts';
import { realSizeTokens } from '../requests/tokens.ts';

const suite = 'manager';
const connections = 10_000;
const warmUp = 200;
const inFlight = 32;

export const run: RunSuite = async (progress) => {
  const processes = await startParts();
  try {
    const { kilobytes, refreshMs } = await measure(processes, progress);
    return [
      judge(
        { suite, name: `memory per connection, ${connections} live`, value: kilobytes, unit: 'kB' },
        { of: 'value', atMost: 12 },
      ),
      judge(
        { suite, name: 'CPU of the manager per refresh', value: refreshMs, unit: 'ms' },
        { of: 'value', atMost: 0.4 },
      ),
    ];
  } finally {
    await processes.stop();
  }
};

async function measure(
  processes: PartProcesses,
  progress: Progress,
): Promise<{ readonly kilobytes: number; readonly refreshMs: number }> {
  const hasTokens = true;
  await processes.start({ parts: [['registry', 'a']] });
  const manager = await processes.start({ parts: [['manager', 'a']], hasTokens });
  const parts = [
    ['forwarder', 'a'],
    ['manager', 'b'],
    ['forwarder', 'b'],
    ['endpoint', 'b'],
  ] as const;
  await processes.start({ parts, hasTokens });
  const platform = await benchPlatform('client', processes.natsUrl);
  const clients = benchClients({ ...platform, tokens: realSizeTokens() }, natsSite('a'));
  const connect = () => clients.connect();
  await ratePerSecond(warmUp, inFlight, connect);
  const before = await manager.ask('memory');
  progress(`connecting ${connections} clients`);
  await ratePerSecond(connections, inFlight, connect);
  const bytes = (await manager.ask('memory')) - before;
  progress(`refreshing ${connections} connections`);
  const refreshMs = await cpuPerRefresh(manager, clients);
  await platform.stop(5_000);
  return { kilobytes: bytes / connections / 1_000, refreshMs };
}

async function cpuPerRefresh(
  manager: PartProcess,
  clients: { readonly connected: number; refresh(index: number): Promise<void> },
): Promise<number> {
  const count = clients.connected;
  const before = await manager.ask('cpu');
  await ratePerSecond(count, inFlight, (index) => clients.refresh(index));
  return ((await manager.ask('cpu')) - before) / count / 1_000;
}
