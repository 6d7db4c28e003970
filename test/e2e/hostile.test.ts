// Protects the listeners of the real processes: whatever malformed or hostile bytes reach the manager's, the
// forwarder's, the registry's and an Endpoint's listener, over gRPC and over the bus, every process goes on and a
// client that behaves is served. Goal by volume: thousands of mutations of valid messages per listener.

import { once } from 'node:events';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';
import { mutations, pick, randomBytes, seeded } from '../fuzz/mutate.ts';
import { hostileMessages } from '../sandbox/hostile-messages.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import { expectPingsBothWays } from '../sandbox/mesh-probes.ts';

const callsPerListener = 2_000;
const callsAtOnce = 50;
const rawConnections = 100;
const busMessages = 6_000;

const bytes = (value: Buffer): Buffer => value;

/** Unary calls with mutated bodies; each must be answered, with whatever refusal. */
async function callHostilely(socket: string, seed: number): Promise<ReadonlyMap<number, number>> {
  const random = seeded(seed);
  const client = new Client(`unix:${socket}`, credentials.createInsecure());
  const codes = new Map<number, number>();
  const call = (): Promise<void> =>
    new Promise((resolve) => {
      const { path, schema, init } = pick(random, hostileMessages);
      const valid = toBinary(schema, create(schema, init));
      const body = Buffer.from(
        random.integer(8) === 0 ? randomBytes(random, 2048) : mutations(random, valid).next().value,
      );
      const done = (error: ServiceError | null): void => {
        const code = error?.code ?? 0;
        codes.set(code, (codes.get(code) ?? 0) + 1);
        resolve();
      };
      client.makeUnaryRequest(path, bytes, bytes, body, { deadline: Date.now() + 3_000 }, done);
    });
  let left = callsPerListener;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await call();
    }
  };
  await Promise.all(Array.from({ length: callsAtOnce }, worker));
  client.close();
  return codes;
}

/** Connections that speak no HTTP/2, or only begin to. */
async function connectHostilely(socket: string, seed: number): Promise<void> {
  const random = seeded(seed);
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  for (let made = 0; made < rawConnections; made += 1) {
    const connection = createConnection(socket);
    connection.on('error', () => {});
    await once(connection, 'connect');
    if (random.integer(2) === 0) connection.write(preface);
    connection.end(Buffer.from(randomBytes(random, 1024)));
    connection.destroySoon();
  }
}

async function publishHostilely({ nodes, processes, name }: TestMesh, seed: number): Promise<void> {
  const [node] = nodes;
  const child = spawnInNamespace(
    node.namespace.url,
    [
      process.execPath,
      '--import',
      'tsx',
      join(import.meta.dirname, '../sandbox/hostile-bus-child.ts'),
      processes.bus?.url ?? '',
      name,
      node.name,
      String(seed),
      String(busMessages),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const [code] = (await once(child, 'exit')) as [number | null];
  expect(code).toBe(0);
}

function restartsOf({ processes }: TestMesh): readonly string[] {
  const ended = [...processes.processes.values()].filter(({ isRunning }) => !isRunning);
  const restarted = [...processes.supervised.values()].filter(({ restarts }) => restarts > 0);
  return [...ended.map((child) => child.name), ...restarted.map(({ child }) => child)];
}

describeMesh(
  'hostile input',
  (mesh) => {
    test('ends no process, and a client that behaves is served', async () => {
      const { nodes, workloads, processes, namespace, stateDir } = mesh();
      const endpoint = await workloads.endpoint({
        node: nodes[0],
        services: ['served'],
        cidr: [['172.16.9.0/24']],
      });
      const nse = { name: 'server-process', node: nodes[1], namespace: namespace() };
      await processes.startEndpoint(nse, { NSM_SERVICE_NAMES: 'other' });
      const sockets = [
        processes.socketOf(nodes[0]),
        `unix://${stateDir}/${nse.name}/${nse.name}.sock`,
      ];
      for (const [seed, url] of sockets.entries()) {
        const socket = url.slice('unix://'.length);
        await connectHostilely(socket, seed);
        const codes = await callHostilely(socket, seed);
        // Each call is answered; some are granted, since a mutation may leave a message valid.
        expect([...codes.values()].reduce((sum, each) => sum + each, 0)).toBe(callsPerListener);
        expect(codes.get(status.INVALID_ARGUMENT) ?? 0).toBeGreaterThan(0);
      }
      await publishHostilely(mesh(), 3);
      expect(restartsOf(mesh())).toEqual([]);
      const caller = await workloads.caller(nodes[0]);
      const granted = await caller.request({ service: 'served' });
      await expectPingsBothWays(granted, caller.namespace, endpoint.namespace);
      expect(restartsOf(mesh())).toEqual([]);
    }, 240_000);
    // Where TLS stood before it, a stranger would be refused at the door: what is protected here is what lies behind.
  },
  { insecure: true },
);
