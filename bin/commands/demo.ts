// `vwire demo`: two nodes, four workloads, a local and a remote wire, pings both ways, and a complete teardown, all
// with real processes. As root as it is; as an ordinary user inside namespaces of its own.

import { runDemo, type DemoResult } from '../demo/run-demo.ts';
import { sabotages } from '../demo/sabotage.ts';
import { keepUntilSignal } from '../demo/keep.ts';
import { enterUserNamespace } from '../demo/user-namespace.ts';
import { createPaint } from '../output/colours.ts';
import { formatTable } from '../output/table.ts';
import { parseArguments } from './arguments.ts';
import { exitCodes } from './catalog.ts';

export async function run(args: readonly string[]): Promise<number> {
  const { options } = parseArguments('demo', args);
  const inner = await enterUserNamespace(['demo', ...args]);
  if (inner !== undefined) return inner;
  const startedMs = performance.now();
  const say = (text: string): void => {
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    process.stderr.write(`${seconds.padStart(5)} s  ${text}\n`);
  };
  const result = await runDemo({
    natsServer: process.env['VWIRE_NATS_SERVER'] ?? 'nats-server',
    sabotage: sabotages.find((part) => part === options['sabotage']),
    keep: options['keep'] === true ? keepUntilSignal : undefined,
    onStep: say,
  });
  show(result);
  if (options['json'] === true) process.stdout.write(`${jsonOf(result)}\n`);
  const isGood = result.findings.length === 0 && result.leftovers.length === 0;
  return isGood ? exitCodes.ok : exitCodes.failed;
}

function show({ wires, findings, leftovers }: DemoResult): void {
  const paint = createPaint(process.stdout, process.env);
  const table = formatTable(
    wires,
    [
      { title: 'SERVICE', cell: ({ service }) => service },
      { title: 'PATH', cell: ({ path }) => path.join(' > ') },
      { title: 'CLIENT', cell: ({ clientAddress }) => clientAddress },
      { title: 'ENDPOINT', cell: ({ endpointAddress }) => endpointAddress },
      { title: 'REQUEST MS', cell: ({ requestMs }) => requestMs.toFixed(1), align: 'right' },
      { title: 'PINGS', cell: ({ sent, received }) => `${received}/${sent}`, align: 'right' },
      { title: 'RTT MS', cell: ({ rttMs }) => rttMs?.toFixed(3), align: 'right' },
    ],
    paint,
  );
  process.stdout.write(table);
  for (const finding of findings) process.stdout.write(`${paint('red', 'wrong:')} ${finding}\n`);
  for (const each of leftovers) process.stdout.write(`${paint('red', 'left over:')} ${each}\n`);
  if (leftovers.length === 0) process.stdout.write('nothing is left over\n');
}

function jsonOf({ dataplane, wires, leftovers }: DemoResult): string {
  return JSON.stringify({
    dataplane,
    wires: wires.map(({ service, path, sent, received, requestMs }) => ({
      service,
      path,
      sent,
      received,
      requestMs,
    })),
    leftovers: leftovers.length,
  });
}
