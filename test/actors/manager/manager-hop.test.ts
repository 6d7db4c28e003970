// Protects a manager's choice of forwarder: the one that holds a wire is kept, the one of the path comes first, a
// service's match asks for labels, and a refusal says who was there.

import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Hop, HopRequest } from '../../../actors/connection/hop.ts';
import type { Discovery } from '../../../actors/discovery/discovery.ts';
import { withExcludedPrefixes } from '../../../actors/manager/excluded-prefixes.ts';
import { managerHop } from '../../../actors/manager/manager-hop.ts';
import { createDecisions, type Decisions } from '../../../actors/selection/decisions.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { type Connection, State } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  type NetworkServiceEndpoint,
  NetworkServiceEndpointSchema,
  NetworkServiceSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import { withMechanisms } from '../../../protocols/nsm/forwarder-mechanisms.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import {
  call,
  connectionAt,
  type FakeNextHop,
  fakeNextHop,
  hopRequest,
} from '../connection/hop-request.ts';
import { createManualClock, type ManualClock } from '../../sandbox/manual-clock.ts';
import { seededRandom } from '../runtime/fixture.ts';

let forwarders: NetworkServiceEndpoint[];
let matches: { metadata?: { labels: Record<string, string> } }[];
let excluded: string[];
let discovered: number;
let discoveryError: NsmError | undefined;
let failing: Set<string>;
/** URLs behind which a process hangs. */
let silent: Set<string>;
let decisions: Decisions;
let loads: Record<string, number>;
let clock: ManualClock;
let nextHop: FakeNextHop;
let hop: Hop;

const forwarderGraceMs = 5_000;

const forwarder = (name: string, labels: Record<string, string> = { p2p: 'true' }) =>
  create(NetworkServiceEndpointSchema, {
    name,
    url: `memory:${name}`,
    networkServiceNames: ['forwarder'],
    networkServiceLabels: { forwarder: { labels } },
  });

beforeEach(() => {
  forwarders = [forwarder('f-1'), forwarder('f-2'), forwarder('f-3')];
  [matches, excluded, discovered, discoveryError] = [[], [], 0, undefined];
  failing = new Set();
  silent = new Set();
  loads = {};
  clock = createManualClock();
  nextHop = fakeNextHop((url, asked) => {
    if (failing.has(url)) throw new NsmError('UNAVAILABLE', 'away', { rule: 'listener' });
    return asked;
  });
  const discover: Discovery['discover'] = async (name) => {
    discovered += 1;
    if (discoveryError !== undefined) throw discoveryError;
    const networkService = create(NetworkServiceSchema, { name, matches });
    return { networkService, endpoints: new Map(), endpointCount: 0, isStale: false };
  };
  decisions = createDecisions({ wallClock: clock, random: seededRandom(1) });
  hop = managerHop({
    name: 'nsmgr',
    nextHop,
    log: silentLog,
    discovery: { discover } as Discovery,
    decisions,
    forwarderServiceName: 'forwarder',
    forwarders: () => forwarders,
    forwarderPolicy: 'least-loaded',
    forwarderGraceMs,
    answers: async (url) => !silent.has(url),
    loadOf: (name) => loads[name] ?? 0,
    clock,
    excludedPrefixes: () => excluded,
  });
});

const asked = (names: readonly string[] = ['nsc', 'nsmgr'], change: Partial<HopRequest> = {}) =>
  hopRequest(connectionAt(1, names), change);
const previous = (
  name: string,
  connection: Connection = connectionAt(1, ['nsc', 'nsmgr', name]),
) => ({
  connection,
  memory: { nextUrl: `memory:${name}`, nextName: name },
});

describe('the choice of a forwarder', () => {
  it('takes the first that succeeds, and remembers it', async () => {
    failing.add('memory:f-1');
    const { memory } = await hop.request(asked());
    expect(nextHop.told).toEqual(['request memory:f-1', 'request memory:f-2']);
    expect(memory).toEqual({ nextUrl: 'memory:f-2', nextName: 'f-2' });
  });

  it('begins with the one of the path, also in a reselect', async () => {
    await hop.request(asked(['nsc', 'nsmgr', 'f-3', 'nse']));
    await hop.request(
      asked(['nsc', 'nsmgr', 'f-2', 'nse'], { previous: previous('f-2'), reselect: true }),
    );
    expect(nextHop.told).toEqual(['request memory:f-3', 'request memory:f-2']);
  });

  it('is only the one that holds the wire, in a refresh, and asks no registry', async () => {
    discoveryError = new NsmError('UNAVAILABLE', 'the registry is away');
    await hop.request(asked(undefined, { previous: previous('f-2') }));
    expect(nextHop.told).toEqual(['request memory:f-2']);
    expect(discovered).toBe(0);
    failing.add('memory:f-2');
    await expect(
      hop.request(asked(undefined, { previous: previous('f-2') })),
    ).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    expect(nextHop.told.length).toBe(2);
  });

  it('follows that forwarder to its new URL', async () => {
    forwarders = [
      create(NetworkServiceEndpointSchema, { ...forwarder('f-2'), url: 'memory:moved' }),
    ];
    const { memory } = await hop.request(asked(undefined, { previous: previous('f-2') }));
    expect(memory.nextUrl).toBe('memory:moved');
  });

  it('does not leave one that has another socket since its restart', async () => {
    forwarders = [create(NetworkServiceEndpointSchema, { ...forwarder('f-2'), url: 'unix:///b' })];
    const known = previous('f-2');
    const before = { ...known, memory: { ...known.memory, nextUrl: 'unix:///a' } };
    await hop.request(asked(undefined, { previous: before }));
    expect(nextHop.told).toEqual(['request unix:///b']);
  });

  it('may be another one in a reselect, and the old one is left once that is ready', async () => {
    forwarders = [forwarder('f-1')];
    await hop.request(asked(undefined, { previous: previous('f-2'), reselect: true }));
    expect(nextHop.told).toEqual(['request memory:f-1', 'close memory:f-2']);
  });

  it('asks for the labels of the match, and for p2p where it names none', async () => {
    forwarders.push(forwarder('f-sriov', { sriov: 'true' }));
    matches = [{ metadata: { labels: { sriov: 'true' } } }];
    await hop.request(asked());
    matches = [{}];
    forwarders = forwarders.toReversed();
    await hop.request(asked());
    expect(nextHop.told).toEqual(['request memory:f-sriov', 'request memory:f-1']);
  });
});

describe('several that may carry a wire', () => {
  const kernel = kernelMechanism({ interfaceName: 'nsm-1' });

  it('are asked by load, in ties by name', async () => {
    loads = { 'f-1': 2, 'f-2': 1, 'f-3': 1 };
    await hop.request(asked());
    expect(nextHop.told).toEqual(['request memory:f-2']);
    const [{ order, notes, policy } = { order: [], notes: [], policy: '' }] =
      decisions.find('id-1');
    expect({ order, notes, policy }).toEqual({
      order: ['f-2', 'f-3', 'f-1'],
      notes: ['carries 1', 'carries 1', 'carries 2'],
      policy: 'least-loaded',
    });
  });

  it('are asked last where they make nothing that is asked for, however little they carry', async () => {
    forwarders = [
      forwarder('f-1', withMechanisms({ p2p: 'true' }, ['VXLAN'])),
      forwarder('f-2', withMechanisms({ p2p: 'true' }, ['KERNEL', 'VXLAN'])),
    ];
    loads = { 'f-2': 100 };
    await hop.request(asked(undefined, { preferences: [kernel] }));
    expect(nextHop.told).toEqual(['request memory:f-2']);
    expect(decisions.find('id-1')[0]?.passedOver).toEqual([
      { name: 'f-1', reason: 'makes no KERNEL' },
    ]);
  });
});

describe('a forwarder that holds the wire and is gone', () => {
  const refresh = () => hop.request(asked(undefined, { previous: previous('f-2') }));

  beforeEach(() => {
    forwarders = [forwarder('f-1'), forwarder('f-3')];
    loads = { 'f-1': 1 };
  });

  it('is waited for, then another one is asked, and the old one is left', async () => {
    await expect(refresh()).rejects.toMatchObject({ details: { rule: 'select-forwarder' } });
    await clock.advance(forwarderGraceMs - 1);
    await expect(refresh()).rejects.toMatchObject({ details: { rule: 'select-forwarder' } });
    expect(nextHop.told).toEqual([]);
    await clock.advance(1);
    const { memory } = await refresh();
    expect(memory.nextName).toBe('f-3');
    expect(nextHop.told).toEqual(['request memory:f-3', 'close memory:f-2']);
    expect(decisions.find('id-1')[0]?.passedOver).toEqual([
      { name: 'f-2', reason: 'it held the wire and has not come back' },
    ]);
  });

  it('is asked first where it is registered and nobody answers there', async () => {
    forwarders.push(forwarder('f-2'));
    failing.add('memory:f-2');
    await expect(refresh()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await clock.advance(forwarderGraceMs);
    const path = connectionAt(1, ['nsc', 'nsmgr', 'f-2', 'nse']);
    await hop.request(hopRequest(path, { previous: previous('f-2', path) }));
    expect(nextHop.told).toEqual([
      'request memory:f-2',
      'request memory:f-2',
      'request memory:f-3',
      'close memory:f-2',
    ]);
  });

  it('begins anew to be waited for once it was back', async () => {
    await expect(refresh()).rejects.toThrow();
    forwarders.push(forwarder('f-2'));
    await refresh();
    forwarders.pop();
    await clock.advance(forwarderGraceMs);
    await expect(refresh()).rejects.toMatchObject({ details: { rule: 'select-forwarder' } });
  });

  it('is waited for as long as there is nobody else', async () => {
    forwarders = [];
    await expect(refresh()).rejects.toThrow();
    await clock.advance(10 * forwarderGraceMs);
    await expect(refresh()).rejects.toMatchObject({
      details: { expected: 'forwarder f-2, which holds this wire' },
    });
  });
});

describe('a forwarder that is registered and hangs', () => {
  const path = connectionAt(1, ['nsc', 'nsmgr', 'f-2', 'nse']);
  const repair = (state: State = State.DOWN) => {
    const known = previous('f-2', { ...path, state });
    return hop.request(hopRequest(path, { previous: known }));
  };
  const refused = { code: 'UNAVAILABLE', details: { rule: 'select-forwarder' } };

  beforeEach(() => {
    silent.add('memory:f-2');
  });

  it('is given no Request that repairs, and another one is asked after the grace', async () => {
    await expect(repair()).rejects.toMatchObject(refused);
    await clock.advance(forwarderGraceMs - 1);
    await expect(repair()).rejects.toMatchObject(refused);
    expect(nextHop.told).toEqual([]);
    await clock.advance(1);
    const { memory } = await repair();
    expect(memory.nextName).toBe('f-1');
    expect(nextHop.told).toEqual(['request memory:f-1', 'close memory:f-2']);
  });

  it('has its wires as before once it goes on', async () => {
    await expect(repair()).rejects.toMatchObject(refused);
    silent.clear();
    await repair();
    silent.add('memory:f-2');
    await clock.advance(forwarderGraceMs);
    await expect(repair()).rejects.toMatchObject(refused);
    expect(nextHop.told).toEqual(['request memory:f-2']);
  });

  it('is not asked for a sign of life by a refresh of what is well', async () => {
    await repair(State.UP);
    expect(nextHop.told).toEqual(['request memory:f-2']);
  });

  it('is waited for as long as there is nobody else', async () => {
    forwarders = [forwarder('f-2')];
    await expect(repair()).rejects.toMatchObject(refused);
    await clock.advance(10 * forwarderGraceMs);
    await expect(repair()).rejects.toMatchObject(refused);
  });
});

describe('a refusal', () => {
  it('says that no forwarder is there', async () => {
    forwarders = [];
    await expect(hop.request(asked())).rejects.toMatchObject({
      code: 'NOT_FOUND',
      details: {
        hop: 'nsmgr',
        rule: 'select-forwarder',
        found: 'no forwarder is registered at this manager',
        connectionId: 'id-1',
      },
    });
  });

  it('names the one that holds the wire, and those that are there', async () => {
    await expect(
      hop.request(asked(undefined, { previous: previous('gone') })),
    ).rejects.toMatchObject({
      details: {
        expected: 'forwarder gone, which holds this wire',
        found: 'registered: f-1, f-2, f-3',
        remedy: 'start that forwarder again, or let the client reselect',
      },
    });
    expect(nextHop.told).toEqual([]);
  });
});

it('what the node’s network uses is not told to the client, which would send it for ever', async () => {
  excluded = ['10.0.0.0/8', '192.168.0.0/16'];
  const request = asked();
  const own = withExcludedPrefixes(request.connection, ['192.168.0.0/16', '172.16.0.0/12']);
  const { connection } = await hop.request({ ...request, connection: own });
  const sent = nextHop.sent[0]?.connection.context?.ipContext?.excludedPrefixes;
  expect(sent?.toSorted()).toEqual(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16']);
  expect(connection.context?.ipContext?.excludedPrefixes.toSorted()).toEqual([
    '172.16.0.0/12',
    '192.168.0.0/16',
  ]);
});

it('what the node’s network uses is excluded, once, beside what the client excludes', async () => {
  excluded = ['10.0.0.0/8', '10.0.0.0/8'];
  await hop.request(asked());
  expect(nextHop.sent[0]?.connection.context?.ipContext?.excludedPrefixes).toEqual(['10.0.0.0/8']);
  excluded = [];
  const request = asked();
  await hop.request(request);
  expect(nextHop.sent[1]?.connection).toBe(request.connection);
});

it('a Close goes to the forwarder that holds the wire, and nowhere without one', async () => {
  const { connection, memory } = previous('f-2');
  await hop.close(connection, memory, call());
  await hop.close(connection, {}, call());
  expect(nextHop.told).toEqual(['close memory:f-2']);
});

it('a first Request is recorded before a forwarder is asked, a refresh is not', async () => {
  const order: unknown[] = [];
  const recordIntent: HopRequest['recordIntent'] = async (memory) => {
    order.push([memory.nextUrl, nextHop.told.length]);
  };
  failing.add('memory:f-1');
  await hop.request(asked(undefined, { recordIntent }));
  expect(order).toEqual([
    ['memory:f-1', 0],
    ['memory:f-2', 1],
  ]);
  await hop.request(asked(undefined, { recordIntent, previous: previous('f-2') }));
  expect(order).toHaveLength(2);
});
