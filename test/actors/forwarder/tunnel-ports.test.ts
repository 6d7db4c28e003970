// Protects the ports of WireGuard tunnels: one for each key, the same until its connection is released, and never one
// that another tunnel has.

import { describe, expect, it } from 'vitest';
import { createTunnelPorts } from '../../../actors/forwarder/tunnel-ports.ts';

const range = { first: 61_000, last: 61_007 };

describe('ports of tunnels', () => {
  it('stay the same, in the next life as well where nobody else has them', () => {
    const [ports, again] = [createTunnelPorts(range), createTunnelPorts(range)];
    const port = ports.of('a', 'a client');
    expect(ports.of('a', 'a client')).toBe(port);
    expect(again.of('a', 'a client')).toBe(port);
  });

  it('are each in the range and one tunnel has one, until none is left', () => {
    const ports = createTunnelPorts(range);
    const drawn = Array.from({ length: 8 }, (_, index) => ports.of(`c${index}`, `k${index}`));
    expect(new Set(drawn).size).toBe(8);
    expect(drawn.every((port) => port >= range.first && port <= range.last)).toBe(true);
    expect(() => ports.of('c8', 'k8')).toThrowError(
      expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }),
    );
    ports.release('c3');
    expect(ports.of('c8', 'k8')).toBe(drawn[3]);
  });

  it('of an earlier life are not given to others, wherever they lie, even if several had one', () => {
    const ports = createTunnelPorts({ first: 61_000, last: 61_001 });
    ports.take('a', 'a client', 61_000);
    ports.take('b', 'b client', 61_000);
    ports.take('c', 'c client', 51_820);
    expect(ports.of('c', 'c client')).toBe(51_820);
    ports.release('a');
    expect(ports.of('d', 'd client')).toBe(61_001);
    ports.release('b');
    expect(ports.of('e', 'e client')).toBe(61_000);
  });

  it('of tunnels that nobody wanted, and of Endpoints long left, are free again', () => {
    const ports = createTunnelPorts(range);
    const wanted = ports.of('a', 'a client');
    for (let turn = 0; turn < 100; turn++) ports.of('a', `a endpoint ${turn}`);
    expect(ports.of('a', 'a endpoint 99')).not.toBe(wanted);
    ports.drop('a', 'a endpoint 99');
    const others = Array.from({ length: 5 }, (_, index) => ports.of('b', `b ${index}`));
    expect(new Set(others).size).toBe(5);
  });
});
