// Protects the claim of decision 11: the entry of a node shows it, and disturbs nobody. Whoever asks for it, by service or
// by name, from this node or another, is refused at once and goes round no circle; it ends with its manager.

import { create } from '@bufbuild/protobuf';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  type SimulatedMesh,
  simulatedStage,
  startSimulatedMesh,
} from '../../bin/demo/simulated-mesh.ts';
import { withMesh } from '../../bin/inspect/mesh-client.ts';
import { nodeViews } from '../../bin/inspect/views.ts';
import { asNsmError } from '../../protocols/errors.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../protocols/nsm/gen/networkservice_pb.ts';
import { enterPath, withSegment } from '../../protocols/nsm/path.ts';
import { timestampFromEpochMs } from '../../protocols/nsm/expiry.ts';
import { ConnectionSchema } from '../../protocols/nsm/gen/connection_pb.ts';
import { kernelMechanism } from '../../protocols/nsm/kernel-mechanism.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { createGrpc } from '../../transports/grpc/grpc.ts';
import { systemClock } from '../../transports/process/system-clock.ts';

const stateDir = mkdtempSync(join(tmpdir(), 'vwire-node-entry-'));
const socket = `unix://${stateDir}/node-1/nsm.io.sock`;
const { dialer } = createGrpc({ clock: systemClock, log: silentLog, insecure: true });
let mesh: SimulatedMesh;

beforeAll(async () => {
  mesh = await startSimulatedMesh(simulatedStage(), stateDir);
});

afterAll(async () => {
  await dialer.close();
  await mesh.stop();
  rmSync(stateDir, { recursive: true, force: true });
});

async function request(networkService: string, networkServiceEndpointName: string) {
  const asked = create(ConnectionSchema, { networkService, networkServiceEndpointName });
  const own = enterPath(asked, 'tester', () => `tester ${networkServiceEndpointName}`);
  const expires = timestampFromEpochMs(Date.now() + 60_000);
  const message = create(NetworkServiceRequestSchema, {
    connection: withSegment(own, 0, { token: '', expires }),
    mechanismPreferences: [
      kernelMechanism({ netnsUrl: 'file:///simulated/other', interfaceName: 'nsm-9' }),
    ],
  });
  const client = dialer.dial(socket).client(NetworkService);
  const error = await client.request(message, { timeoutMs: 10_000 }).then(
    () => undefined,
    (thrown: unknown) => asNsmError(thrown),
  );
  return { code: error?.code, message: error?.message };
}

const nodes = () =>
  withMesh(socket, async (asked) => nodeViews(await asked.endpoints(), 'forwarder', Date.now()));

it('every manager shows both nodes with what runs there', async () => {
  await expect.poll(nodes).toMatchObject([
    {
      name: 'node-1',
      manager: 'nsmgr-node-1',
      url: 'memory:node-1/nsmgr',
      endpoints: ['server-1'],
    },
    { name: 'node-2', forwarders: ['forwarder-node-2'], endpoints: ['server-2'] },
  ]);
});

it.each([
  ['vwire-node', '', 'NOT_FOUND'],
  ['vwire-node', 'vwire-node-node-2', 'NOT_FOUND'],
  ['local-service', 'vwire-node-node-1', 'UNAVAILABLE'],
  ['local-service', 'vwire-node-node-2', 'UNAVAILABLE'],
])('a Request for service "%s", Endpoint "%s" ends with %s', async (service, name, code) => {
  const refused = await request(service, name);
  expect(refused.code).toBe(code);
  // A circle would be cut by the path's length or by the deadline; a refusal needs neither.
  expect(refused.message).not.toMatch(/too long|deadline/i);
});

it('no service lists it as an Endpoint, and it goes with its manager', async () => {
  const services = await withMesh(socket, (asked) => asked.services());
  expect(services.map(({ name }) => name)).toEqual(['local-service', 'remote-service']);
  await mesh.stopPart('nsmgr-node-2');
  await expect
    .poll(async () => (await nodes()).filter(({ manager }) => manager !== null))
    .toMatchObject([{ name: 'node-1' }]);
});
