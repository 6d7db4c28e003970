// `vwire demo`: two nodes, four workloads, a local and a remote wire, pings both ways, and a complete teardown, all
// with real processes: as root as it is, as an ordinary user inside namespaces of its own, and simulated where neither
// is allowed.

import { NsmError } from '../../protocols/errors.ts';
import {
  findOvsPrograms,
  type OvsPrograms,
  whyNoTap,
} from '../../transports/process/open-vswitch.ts';
import { findVpp, type VppPrograms } from '../../transports/process/private-vpp.ts';
import { runDemo, type DemoCarrier, type DemoResult } from '../demo/run-demo.ts';
import { sabotages } from '../demo/sabotage.ts';
import { keepUntilSignal } from '../demo/keep.ts';
import { findGround } from '../demo/ground.ts';
import { runSimulatedDemo } from '../demo/run-simulated.ts';
import { createPaint } from '../output/colours.ts';
import { formatTable } from '../output/table.ts';
import { insecureWarning } from '../roles/role-process.ts';
import { parseArguments, UsageError } from './arguments.ts';
import { exitCodes } from './catalog.ts';

export async function run(args: readonly string[]): Promise<number> {
  const { options } = parseArguments('demo', args);
  const bus = options['bus'] === 'grpc' ? 'grpc' : 'nats';
  const carrier = requireCarrier(options['forwarder']);
  const insecure = options['insecure'] === true;
  checkPlaintext(bus, insecure);
  const ground = await findGround(['demo', ...args]);
  if (ground.kind === 'ended') return ground.code;
  const isSimulated = ground.kind === 'none';
  if (isSimulated) {
    process.stderr.write(
      `vwire: ${ground.missing}\nvwire: to see real wires, ${ground.remedy}\nvwire: what follows is simulated: no packet is sent anywhere\n`,
    );
  }
  const startedMs = performance.now();
  const label = isSimulated ? 'simulated  ' : '';
  const demoOptions = {
    sabotage: sabotages.find((part) => part === options['sabotage']),
    keep: options['keep'] === true ? keepUntilSignal : undefined,
    onStep(text: string): void {
      const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
      process.stderr.write(`${label}${seconds.padStart(5)} s  ${text}\n`);
    },
  };
  const natsServer = process.env['VWIRE_NATS_SERVER'] ?? 'nats-server';
  const result = isSimulated
    ? await runSimulatedDemo(demoOptions)
    : await runDemo({ ...demoOptions, natsServer, bus, insecure, carrier });
  show(result, label);
  if (options['json'] === true) process.stdout.write(`${jsonOf(result)}\n`);
  const isGood = result.findings.length === 0 && result.leftovers.length === 0;
  return isGood ? exitCodes.ok : exitCodes.failed;
}

/** Errors: NOT_FOUND naming the program that is missing, PERMISSION_DENIED. */
function requireCarrier(forwarder: unknown): DemoCarrier {
  if (forwarder === 'ovs') return { kind: 'ovs', programs: requireOpenVSwitch() };
  if (forwarder === 'vpp') return { kind: 'vpp', programs: requireVpp() };
  return { kind: 'kernel' };
}

function requireVpp(): VppPrograms {
  const programs = findVpp(process.env);
  if (typeof programs !== 'string') return programs;
  throw new NsmError('NOT_FOUND', 'there is no VPP on this machine', {
    expected: 'a vpp that runs, with its plugins',
    found: programs,
    remedy: 'install the packages of fd.io, or build VPP and name its program in VWIRE_VPP',
  });
}

function requireOpenVSwitch(): OvsPrograms {
  const programs = findOvsPrograms(process.env);
  if (typeof programs === 'string') {
    throw new NsmError('NOT_FOUND', 'there is no Open vSwitch on this machine', {
      expected: 'ovsdb-tool, ovsdb-server, ovs-vswitchd and vswitch.ovsschema',
      found: programs,
      remedy: 'npm run demo -- --forwarder ovs fetches them; or apt-get install openvswitch-switch',
    });
  }
  const found = whyNoTap();
  if (found === undefined) return programs;
  throw new NsmError('PERMISSION_DENIED', 'Open vSwitch cannot make a bridge here', {
    expected: '/dev/net/tun, for reading and writing',
    found,
    remedy: 'run the demo as root; in a container, with --device /dev/net/tun',
  });
}

/** The two nodes of the demo are no loopback to each other. Errors: UsageError. */
function checkPlaintext(bus: string, insecure: boolean): void {
  if (!insecure) return;
  if (bus === 'grpc') {
    throw new UsageError(
      '--insecure is for loopback and unix sockets: with --bus grpc the nodes need TLS between them',
    );
  }
  process.stderr.write(`vwire: ${insecureWarning}\n`);
}

/** Each line begins with the label. */
function show({ wires, findings, leftovers }: DemoResult, label: string): void {
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
      {
        title: 'TCP KIB',
        cell: ({ tcpBytes }) => (tcpBytes === undefined ? undefined : (tcpBytes / 1024).toFixed(0)),
        align: 'right',
      },
      { title: 'RTT MS', cell: ({ rttMs }) => rttMs?.toFixed(3), align: 'right' },
    ],
    paint,
  );
  const lines = [
    ...table.trimEnd().split('\n'),
    ...findings.map((each) => `${paint('red', 'wrong:')} ${each}`),
    ...leftovers.map((each) => `${paint('red', 'left over:')} ${each}`),
    ...(leftovers.length === 0 ? ['nothing is left over'] : []),
  ];
  process.stdout.write(lines.map((line) => `${label}${line}\n`).join(''));
}

function jsonOf({ dataplane, wires, leftovers }: DemoResult): string {
  return JSON.stringify({
    dataplane,
    wires: wires.map(({ service, path, sent, received, tcpBytes, requestMs }) => ({
      service,
      path,
      sent,
      received,
      tcpBytes,
      requestMs,
    })),
    leftovers: leftovers.length,
  });
}
