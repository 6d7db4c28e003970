// Protects the sharing of addresses on a real nats-server: two replicas over JetStream KV hold different blocks, hear of
// each other's guests, go on without the server, and share out again over a server without its data.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Leases } from '../../actors/nse/leases.ts';
import type { SharedPools } from '../../actors/nse/shared-pools.ts';
import { addressStoreFor } from '../../bin/roles/address-store.ts';
import { createPlatform, type Platform } from '../../bin/roles/platform.ts';
import { leaseTimes, sharedPoolsOf } from '../../bin/roles/shared-pools.ts';
import { formatPrefix, requirePrefix } from '../../protocols/ipam/address.ts';
import { PointToPointPools } from '../../protocols/ipam/point-to-point.ts';
import type { IPContext } from '../../protocols/nsm/gen/connectioncontext_pb.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { type NatsServer, startNatsServer } from '../../transports/nats/nats-server.ts';
import { contextWith } from '../actors/nse/replicas.ts';
import { connectionAt } from '../actors/connection/hop-request.ts';

interface Replica {
  readonly leases: Leases;
  readonly shared: SharedPools;
  readonly platform: Platform;
}

let directory: string;
let server: NatsServer;
let replicas: Replica[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vwire-blocks-'));
  server = await startNatsServer({ storeDir: join(directory, 'first') });
  replicas = [];
});

afterEach(async () => {
  for (const { shared, platform } of replicas) {
    await shared.stop();
    await platform.stop(1_000);
  }
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

async function add(name: string): Promise<Replica> {
  const platform = await createPlatform({
    name,
    log: silentLog,
    natsUrl: undefined,
    insecure: true,
  });
  const openAddressStore = addressStoreFor(platform, {
    name,
    domain: 'test.domain',
    natsUrl: server.url,
    connectTo: 'unix:///nowhere',
    leaseStore: 'nats',
  });
  if (openAddressStore === undefined) throw new Error('a store was asked for');
  const prefix = requirePrefix('10.0.0.0/24', 'test');
  const options = {
    name,
    serviceNames: ['service'],
    cidrPrefixes: [[prefix]],
    maxTokenLifetimeMs: 600_000,
    openAddressStore,
  };
  const pools = new PointToPointPools([[prefix]]);
  const { clock, bootId } = platform;
  const times = leaseTimes(options);
  const leases = new Leases({ clock, log: silentLog, bootId, pools, policy: 'strict', ...times });
  const shared = await sharedPoolsOf(platform, options, { leases, pools, records: new Map() });
  if (shared === undefined) throw new Error('a store was given');
  const replica = { leases, shared, platform };
  replicas.push(replica);
  return replica;
}

let connections = 0;

async function request({ leases }: Replica, client: string, brought?: IPContext) {
  connections += 1;
  const connection = connectionAt(1, [client, 'nse'], { id: `connection-${connections}` });
  const context = brought === undefined ? {} : { context: contextWith(brought) };
  const given = await leases.assign({ ...connection, ...context }, 5_000);
  leases.book.settle(given);
  return given.ipContext;
}

const blocksOf = ({ shared }: Replica) => shared.blocks.map(formatPrefix);

it('replicas hold different blocks, and one hears of the guests of the other', async () => {
  const [a, b] = [await add('a'), await add('b')];
  expect([blocksOf(a), blocksOf(b)]).toEqual([['10.0.0.0/28'], ['10.0.0.16/28']]);
  const own = await request(a, 'client');
  const guest = await request(b, 'client', own);
  expect(guest.srcIpAddrs).toEqual(own.srcIpAddrs);
  const other = () => request(a, `other-${(connections += 1)}`, own);
  await expect.poll(async () => (await other()).srcIpAddrs).not.toEqual(own.srcIpAddrs);
}, 30_000);

it('a server that is away stops nobody; over one without its data each block has one holder again', async () => {
  const [a, b] = [await add('a'), await add('b')];
  const { port } = new URL(server.url);
  await server.stop();
  const told = [await request(a, 'one'), await request(b, 'two'), await request(a, 'three')];
  expect(new Set(told.flatMap(({ srcIpAddrs }) => srcIpAddrs)).size).toBe(3);
  server = await startNatsServer({ storeDir: join(directory, 'second'), port: Number(port) });
  const late = await add('late');
  await expect.poll(() => blocksOf(late).length, { timeout: 30_000 }).toBeGreaterThan(0);
  await expect
    .poll(() => new Set([a, b, late].flatMap(blocksOf)).size, { timeout: 30_000 })
    .toBe([a, b, late].flatMap(blocksOf).length);
}, 90_000);
