// Protects the simulated likeness of what a data plane in user space makes: memif and WireGuard ends are made once, kept
// while they are right, retargeted with the client's end untouched, undone half way, and gone when they are removed.

import { beforeEach, describe, expect, it } from 'vitest';
import {
  createSimulatedDataplane,
  type SimulatedFault,
} from '../../../dataplane/simulated/simulated.ts';
import { SimulatedWorld } from '../../../dataplane/simulated/simulated-world.ts';
import type { MemifEnd, Wire, WireguardEnd } from '../../../protocols/ports/dataplane.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';
import { clientEnd, localWire } from '../../sandbox/wires.ts';

const budget = { timeoutMs: 1_000 };
const places = { client: 'inode://4/1', endpoint: 'inode://4/2' };
const own = { forwarder: 'first', installation: 'ours' };

let world: SimulatedWorld;
let fault: SimulatedFault | undefined;

beforeEach(() => {
  world = new SimulatedWorld();
  fault = undefined;
});

const driver = (mechanisms?: readonly string[]) =>
  createSimulatedDataplane({
    world,
    clock: createManualClock(),
    ...own,
    mechanisms: mechanisms ?? ['KERNEL', 'MEMIF', 'VXLAN', 'WIREGUARD'],
    fault: (_, step) => (step === 'join' ? fault : undefined),
  });

const memif = (name: string, change: Partial<MemifEnd> = {}): MemifEnd => ({
  kind: 'memif',
  socket: { kind: 'abstract', name, netns: 'inode://4/3' },
  role: 'slave',
  mode: 'ip',
  ...change,
});

const wireguard = (publicKey: string, peerPublicKey = 'peer'): WireguardEnd => ({
  kind: 'wireguard',
  localIp: '10.0.0.1',
  localPort: 51_820,
  remoteIp: '10.0.0.2',
  remotePort: 51_820,
  keyName: 'name',
  publicKey,
  peerPublicKey,
});

const ends: readonly (readonly [string, MemifEnd | WireguardEnd, MemifEnd | WireguardEnd])[] = [
  ['memif', memif('@a'), memif('@b')],
  ['wireguard', wireguard('a'), wireguard('b')],
];

const wireTo = (endpoint: Wire['endpoint'], number = 1): Wire => ({
  ...localWire(places, number),
  payload: 'IP',
  endpoint,
});

describe.each(ends)('an end of kind %s', (kind, end, another) => {
  it('is made, kept by the next life, retargeted, and gone in the end', async () => {
    await driver().ensure(wireTo(end), budget);
    const client = world.interfaceIn(places.client, 'nsm-1');
    expect([world.objectCount(), world.takenCount]).toEqual([2, 1]);
    const next = driver();
    await next.ensure(wireTo(end), budget);
    await next.ensure(wireTo(another), budget);
    expect(world.interfaceIn(places.client, 'nsm-1')).toEqual(client);
    expect([world.objectCount(), world.takenCount]).toEqual([2, 1]);
    await next.ensure(localWire(places, 1), budget);
    expect(world.takenCount).toBe(0);
    await next.ensure(wireTo(end), budget);
    await next.remove(['wire-1'], budget);
    expect([world.objectCount(), world.takenCount]).toEqual([0, 0]);
  });

  it('is undone where the wire fails half way, and what was there goes on', async () => {
    const making = driver();
    await making.ensure(wireTo(end), budget);
    fault = 'fail';
    await expect(making.ensure(wireTo(another), budget)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    await expect(making.ensure(wireTo(another, 2), budget)).rejects.toBeDefined();
    fault = undefined;
    expect([world.objectCount(), world.takenCount]).toEqual([2, 1]);
    expect(await making.inspect('wire-1', budget)).toEqual([]);
  });

  it('belongs to one wire', async () => {
    const making = driver();
    await making.ensure(wireTo(end), budget);
    await expect(making.ensure(wireTo(end, 2), budget)).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
    });
    expect(world.objectCount()).toBe(2);
  });

  it('is refused by a data plane that was not given the mechanism', async () => {
    const without = driver(['KERNEL', 'VXLAN']);
    expect((await without.probe(budget)).mechanisms).toEqual(['KERNEL', 'VXLAN']);
    await expect(without.ensure(wireTo(end), budget)).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      details: { expected: 'one of kernel, vxlan', found: kind },
    });
    expect(world.objectCount()).toBe(0);
  });
});

it('a WireGuard end whose peer has another key stays the same device', async () => {
  const making = driver();
  await making.ensure(wireTo(wireguard('a', 'before')), budget);
  await making.ensure(wireTo(wireguard('a', 'after')), budget);
  const [wire] = [...world.wires()];
  expect(wire?.endpoint?.end).toMatchObject({ publicKey: 'a', peerPublicKey: 'after' });
  expect(wire?.replaced).toEqual([]);
});

it('a memif end goes with the namespace of its socket, and cannot be made where that is gone', async () => {
  const making = driver();
  const heard: unknown[] = [];
  making.watch((event) => heard.push(event));
  await making.ensure(wireTo(memif('@a')), budget);
  world.removeNamespace('inode://4/3');
  expect(heard).toEqual([{ kind: 'namespaceGone', wireId: 'wire-1', side: 'endpoint' }]);
  expect(world.takenCount).toBe(0);
  await expect(making.ensure(wireTo(memif('@a')), budget)).rejects.toMatchObject({
    code: 'NOT_FOUND',
    details: { rule: 'namespace of the Endpoint' },
  });
});

it('the MTU of a wire that asks for none leaves room for the tunnel', async () => {
  await driver().ensure(wireTo(wireguard('a')), budget);
  const { interfaceName, netns } = clientEnd(places.client, 1);
  expect(world.interfaceIn(netns, interfaceName)?.mtu).toBe(1440);
});
