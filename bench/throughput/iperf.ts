// TCP between two namespaces, as iperf3 measures it.

import { execFileSync } from 'node:child_process';
import type { Sandbox } from '../../test/sandbox/namespaces.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';

const seconds = 3;

/** Undefined where it can be run; else the reason why not, for a printed skip. */
export function whyNoIperf(): string | undefined {
  try {
    execFileSync('iperf3', ['--version'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'iperf3 is not installed (Debian: apt-get install iperf3)';
  }
}

/** Gbit/s that arrived. */
export async function tcpGigabits(
  sandbox: Sandbox,
  from: NetworkNamespace,
  to: NetworkNamespace,
  ip: string,
): Promise<number> {
  const server = sandbox.spawn(to, ['iperf3', '-s', '-1', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  await new Promise((resolve) => server.stdout?.once('data', resolve));
  const { stdout } = await sandbox.run(from, ['iperf3', '-c', ip, '-t', String(seconds), '-J']);
  await ended;
  const report = JSON.parse(stdout) as {
    readonly error?: string;
    readonly end: { readonly sum_received?: { readonly bits_per_second: number } };
  };
  const bits = report.end.sum_received?.bits_per_second;
  if (bits === undefined) throw new Error(`iperf3: ${report.error ?? 'no result'}`);
  return bits / 1e9;
}
