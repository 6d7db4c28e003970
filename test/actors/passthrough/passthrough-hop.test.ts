// Protects what a passthrough asks of the next hop, by what it remembers: the same Endpoint in a refresh, whichever fits in a
// reselect, a wire in this namespace and not in an earlier life's; and that a wire without an owner is given back.

import { beforeEach, describe, expect, it } from 'vitest';
import type { Hop, HopMemory, HopRequest } from '../../../actors/connection/hop.ts';
import { passthroughHop } from '../../../actors/passthrough/passthrough-hop.ts';
import { NsmError } from '../../../protocols/errors.ts';
import type { Connection } from '../../../protocols/nsm/gen/connection_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import type { ChainLink } from '../../../protocols/ports/chain.ts';
import {
  call,
  connectionAt,
  type FakeNextHop,
  fakeNextHop,
  hopRequest,
} from '../connection/hop-request.ts';

const netns = 'inode://4/7';
const elsewhere = 'inode://4/8';
let nextHop: FakeNextHop;
let joined: ChainLink[];
let left: string[];
let made: number;
let hop: Hop;

beforeEach(() => {
  [joined, left, made] = [[], [], 0];
  nextHop = fakeNextHop((_, asked) => ({ ...asked, networkServiceEndpointName: 'gateway' }));
  hop = passthroughHop({
    name: 'firewall',
    nextHop,
    connectTo: 'memory:nsmgr',
    labels: { app: 'firewall' },
    netns,
    chain: {
      join: (link) => void joined.push(link),
      leave: (id) => void left.push(id),
      close: () => Promise.resolve(),
    },
    newInterfaceName: () => `made-${(made += 1)}`,
  });
});

const names = ['nsc', 'nsmgr', 'forwarder', 'firewall'];
const asked = (change: Partial<HopRequest> = {}, connection: Partial<Connection> = {}) =>
  hopRequest(
    connectionAt(3, names, {
      labels: { app: 'web' },
      networkServiceEndpointName: 'firewall',
      payload: 'IP',
      ...connection,
    }),
    { preferences: [kernelMechanism({ netnsUrl: elsewhere, interfaceName: 'e' })], ...change },
  );
const previous = (memory: HopMemory) => ({ connection: connectionAt(3, names), memory });
const onward = (netnsUrl = netns) => kernelMechanism({ netnsUrl, interfaceName: 'down' });
const memory: HopMemory = {
  nextUrl: 'memory:nsmgr',
  nextName: 'gateway-1',
  onwardMechanism: onward(),
};

describe('a passthrough', () => {
  it('asks with its own labels for whoever fits, and answers with the client’s', async () => {
    const { connection, memory: kept } = await hop.request(asked());
    expect(nextHop.sent).toMatchObject([
      {
        connection: { labels: { app: 'firewall' }, networkServiceEndpointName: '' },
        preferences: [kernelMechanism({ netnsUrl: netns, interfaceName: 'made-1' })],
      },
    ]);
    expect(nextHop.sent[0]?.connection.mechanism).toBeUndefined();
    expect(connection).toMatchObject({
      labels: { app: 'web' },
      networkServiceEndpointName: 'firewall',
      mechanism: { parameters: { name: 'e', inodeURL: netns } },
    });
    expect(kept).toMatchObject({ nextUrl: 'memory:nsmgr', nextName: 'gateway' });
    expect(joined).toEqual([
      { connectionId: 'id-3', upstream: 'e', downstream: 'made-1', payload: 'IP' },
    ]);
  });

  it('keeps the next Endpoint and its wire in a refresh', async () => {
    await hop.request(asked({ previous: previous(memory) }));
    expect(nextHop.sent[0]?.connection).toMatchObject({
      networkServiceEndpointName: 'gateway-1',
      mechanism: onward(),
    });
    expect(joined).toMatchObject([{ downstream: 'down' }]);
  });

  it('leaves the choice open in a reselect, under the same interface', async () => {
    await hop.request(asked({ previous: previous(memory), reselect: true }));
    const [sent] = nextHop.sent;
    expect(sent?.connection.networkServiceEndpointName).toBe('');
    expect(sent?.connection.mechanism).toBeUndefined();
    expect(sent?.preferences).toEqual([onward()]);
  });

  it('asks anew for a wire that ended in a namespace of an earlier life', async () => {
    const old = { ...memory, onwardMechanism: onward(elsewhere) };
    await hop.request(asked({ previous: previous(old) }));
    const [sent] = nextHop.sent;
    expect(sent?.connection.networkServiceEndpointName).toBe('gateway-1');
    expect(sent?.connection.mechanism).toBeUndefined();
    expect(sent?.preferences).toEqual([onward()]);
  });

  it('gives a new wire back that cannot be recorded, and keeps an old one', async () => {
    const recordIntent = () => Promise.reject(new NsmError('RESOURCE_EXHAUSTED', 'disk full'));
    await expect(hop.request(asked({ recordIntent }))).rejects.toThrow('disk full');
    const again = asked({ recordIntent, previous: previous(memory) });
    await expect(hop.request(again)).rejects.toThrow('disk full');
    expect(nextHop.told).toEqual([
      'request memory:nsmgr',
      'close memory:nsmgr',
      'request memory:nsmgr',
    ]);
    expect(joined).toEqual([]);
  });

  it('takes both wires apart at the end, also where the next hop was never reached', async () => {
    await hop.close(connectionAt(3, names), memory, call());
    await hop.close(connectionAt(3, names), {}, call());
    expect(left).toEqual(['id-3', 'id-3']);
    expect(nextHop.told).toEqual(['close memory:nsmgr']);
  });

  it('does not stand in a path twice', async () => {
    const twice = hopRequest(connectionAt(5, [...names, 'nsmgr', 'firewall']));
    await expect(hop.request(twice)).rejects.toMatchObject({
      details: { rule: 'passthrough-loop', found: expect.stringContaining('forwarder > firewall') },
    });
  });
});
