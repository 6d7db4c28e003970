// Protects whom a lease that has ended speaks against: a node that had one and does not get it back in time, while the
// registry is there to say so, and nobody else.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NodeLeases } from '../../../actors/discovery/node-leases.ts';
import {
  type NetworkServiceEndpoint,
  NetworkServiceEndpointSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import { nodeServiceName } from '../../../protocols/nsm/node-lease.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { createManualClock, type ManualClock } from '../../sandbox/manual-clock.ts';

let clock: ManualClock;
let isStale: boolean;
let away: string[];
let leases: NodeLeases;

beforeEach(() => {
  clock = createManualClock();
  [isStale, away] = [false, []];
  leases = new NodeLeases({
    clock,
    log: silentLog,
    isStale: () => isStale,
    onAway: (url) => away.push(url),
  });
});

afterEach(() => {
  leases.close();
  expect(clock.pendingTimers, 'timers left behind').toBe(0);
});

function lease(node: string, url = `tcp://${node}`): NetworkServiceEndpoint {
  return create(NetworkServiceEndpointSchema, {
    name: `vwire-node-${node}`,
    networkServiceNames: [nodeServiceName],
    networkServiceLabels: { [nodeServiceName]: { labels: { url, leaseMs: '5000' } } },
  });
}

it('a node that never had a lease is not away', async () => {
  await clock.advance(60_000);
  expect(leases.isAway('tcp://n1')).toBe(false);
});

it('a node whose lease has ended is away once it had time to come back', async () => {
  leases.changed(undefined, lease('n1'));
  leases.changed(lease('n1'), undefined);
  await clock.advance(2_400);
  expect(leases.isAway('tcp://n1')).toBe(false);
  await clock.advance(200);
  expect(away).toEqual(['tcp://n1']);
  expect(leases.isAway('tcp://n1')).toBe(true);
  leases.changed(undefined, lease('n1'));
  expect(leases.isAway('tcp://n1')).toBe(false);
});

it('a node whose lease comes back in time was never away', async () => {
  leases.changed(undefined, lease('n1'));
  leases.changed(lease('n1'), undefined);
  await clock.advance(2_000);
  leases.changed(undefined, lease('n1'));
  await clock.advance(60_000);
  expect(away).toEqual([]);
});

it('while the registry is away nothing is judged', async () => {
  leases.changed(undefined, lease('n1'));
  isStale = true;
  leases.changed(lease('n1'), undefined);
  await clock.advance(60_000);
  expect(away).toEqual([]);
  isStale = false;
  leases.changed(undefined, lease('n1'));
  await clock.advance(60_000);
  expect(away).toEqual([]);
});

it('a manager that has moved to another URL is away from the old one alone', async () => {
  leases.changed(undefined, lease('n1'));
  leases.changed(lease('n1'), lease('n1', 'tcp://other'));
  await clock.advance(5_000);
  expect(away).toEqual(['tcp://n1']);
  expect(leases.isAway('tcp://other')).toBe(false);
});
