// Protects the promise that a private nats-server never outlives the process that started it, however that ends,
// and that a start which fails says why.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { startNatsServer } from '../../../transports/nats/nats-server.ts';
import { failure } from '../../contract/rpc.ts';
import { openBus } from '../../contract/rpc-bindings.ts';

it('starts on a free port, with JetStream where a store is given, and stops by its id', async () => {
  const storeDir = await mkdtemp(join(tmpdir(), 'vwire-nats-'));
  const server = await startNatsServer({ storeDir });
  const bus = await openBus(server.url, 'test');
  expect(bus.connection.info?.jetstream).toBe(true);
  await bus.close();
  await server.stop();
  expect(isAlive(server.pid)).toBe(false);
  await rm(storeDir, { recursive: true });
});

it('tells when the server ends by itself', async () => {
  const server = await startNatsServer();
  process.kill(server.pid, 'SIGKILL');
  await server.ended;
  await server.stop();
  expect(isAlive(server.pid)).toBe(false);
});

it('says why a server did not start', async () => {
  const server = await startNatsServer();
  const taken = await failure(startNatsServer({ port: server.port }));
  expect(taken.code).toBe('UNAVAILABLE');
  expect(taken.details.found).toContain('address already in use');
  const missing = await failure(startNatsServer({ binary: '/nonexistent/nats-server' }));
  expect(missing.code).toBe('UNAVAILABLE');
  expect(missing.details.found).toContain('not found');
  await server.stop();
});

it('kills the server when its parent is killed', async () => {
  const module = fileURLToPath(new URL('../../../transports/nats/nats-server.ts', import.meta.url));
  const program = `
    const { startNatsServer } = await import(${JSON.stringify(module)});
    console.log((await startNatsServer()).pid);`;
  const parent = spawn(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', program],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
  const pid = Number(line);
  expect(isAlive(pid)).toBe(true);
  parent.kill('SIGKILL');
  await once(parent, 'exit');
  const endsAt = Date.now() + 5000;
  while (isAlive(pid) && Date.now() < endsAt) await new Promise((resolve) => setImmediate(resolve));
  expect(isAlive(pid)).toBe(false);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
