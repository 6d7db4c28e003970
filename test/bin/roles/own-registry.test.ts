// Protects a manager that is told of no registry: as in the reference, a registry URL that is set but empty gives it one
// of its own, in which Endpoints of its node are registered and found.

import { create } from '@bufbuild/protobuf';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';
import { registryClients } from '../../../actors/registry/registry-clients.ts';
import {
  NetworkServiceQuerySchema,
  NetworkServiceSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { createGrpc } from '../../../transports/grpc/grpc.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';

const program = join(import.meta.dirname, '../../../dist/bin/vwire.js');
const timeoutMs = 10_000;

it('serves a registry of its own', { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vwire-own-registry-'));
  const url = `unix://${join(folder, 'nsm.sock')}`;
  const manager = spawn(process.execPath, [program, 'nsmgr'], {
    env: {
      PATH: process.env['PATH'] ?? '',
      NSM_REGISTRY_URL: '',
      NSM_LISTEN_ON: url,
      VWIRE_STATE_DIR: folder,
      VWIRE_INSECURE: 'true',
    },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = once(manager, 'exit');
  const { dialer } = createGrpc({ clock: systemClock, log: silentLog, insecure: true });
  try {
    const lines = createInterface({ input: manager.stdout });
    const [ready] = (await once(lines, 'line')) as [string];
    expect(ready).toBe(`ready nsmgr ${url}`);
    const { services } = registryClients(dialer.dial(url));
    const service = create(NetworkServiceSchema, { name: 'alone', payload: 'IP' });
    await services.register(service, { timeoutMs });
    const query = create(NetworkServiceQuerySchema, { networkService: { name: 'alone' } });
    const found: (string | undefined)[] = [];
    for await (const { networkService } of services.find(query, { timeoutMs })) {
      found.push(networkService?.name);
    }
    expect(found).toEqual(['alone']);
  } finally {
    await dialer.close();
    manager.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
});
