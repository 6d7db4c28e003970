// Protects `vwire identity`: two servers of two trust domains serve identities, find each other by their bundle files,
// keep their CA across a restart, and say that they are for development.

import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';
import { silentLog } from '../../protocols/ports/log.ts';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import { systemRandom } from '../../transports/process/system-random.ts';
import { createIdentitySource } from '../../transports/spiffe-ts/spiffe.ts';
import { eventually } from '../sandbox/eventually.ts';

const program = join(import.meta.dirname, '../../dist/bin/vwire.js');

interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  readonly log: () => string;
  stop(): Promise<unknown>;
}

async function start(environment: Record<string, string>): Promise<Running> {
  const child = spawn(process.execPath, [program, 'identity'], {
    env: { PATH: process.env['PATH'] ?? '', ...environment },
    stdio: 'pipe',
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  let log = '';
  child.stderr.on('data', (text: Buffer) => (log += String(text)));
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  await eventually('readiness', 20_000, () => {
    if (!lines.some((line) => line.startsWith('ready '))) throw new Error(log);
  });
  return {
    child,
    log: () => log + lines.join('\n'),
    stop: () => {
      child.kill('SIGTERM');
      return exited;
    },
  };
}

it('serves, federates by files, and keeps its CA', { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vwire-identity-'));
  const environmentOf = (name: string, other: string) => ({
    VWIRE_IDENTITY_TRUST_DOMAIN: `${name}.test`,
    VWIRE_IDENTITY_DIR: join(folder, name),
    VWIRE_IDENTITY_WORKLOADS: 'ns/a',
    VWIRE_IDENTITY_USERS: `${process.getuid?.()}:me`,
    VWIRE_IDENTITY_FEDERATES_WITH: `${other}.test:${join(folder, other, 'bundle.json')}`,
    VWIRE_IDENTITY_SVID_LIFETIME: '30s',
  });
  const source = (name: string, socket: string) =>
    createIdentitySource({
      endpoint: `unix://${join(folder, name, socket)}`,
      clock: systemClock,
      wallClock: systemWallClock,
      random: systemRandom,
      log: silentLog,
    });
  const running = [
    await start(environmentOf('one', 'two')),
    await start(environmentOf('two', 'one')),
  ];
  const own = source('one', 'ns_a.sock');
  const user = source('two', 'users.sock');
  try {
    const guest = await user.ready({ timeoutMs: 10_000 });
    expect(guest.svid.spiffeId).toBe('spiffe://two.test/me');
    expect((await own.ready({ timeoutMs: 10_000 })).svid.spiffeId).toBe('spiffe://one.test/ns/a');
    await eventually('federation', 10_000, () => own.verifyPeer(guest.svid.chain));
    await eventually('federation', 10_000, () => user.verifyPeer(own.current()?.svid.chain ?? []));
    expect(running[0]?.log()).toContain('DEVELOPMENT ONLY');
    expect(running[0]?.log()).not.toContain('PRIVATE KEY');
    const file = join(folder, 'one', 'authority.json');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const before = readFileSync(file, 'utf8');
    const generation = own.current()?.generation ?? 0;
    expect(await running[0]?.stop()).toBe(0);
    expect(own.current()).toBeDefined();
    running[0] = await start(environmentOf('one', 'two'));
    expect(readFileSync(file, 'utf8')).toBe(before);
    await eventually('the stream again', 15_000, () => {
      if ((own.current()?.generation ?? 0) <= generation) throw new Error('not yet');
    });
  } finally {
    await Promise.all([own.close(), user.close()]);
    await Promise.all(running.map((one) => one.stop()));
    rmSync(folder, { recursive: true, force: true });
  }
});
