// Protects an Endpoint's part of a Request: it gives addresses and its end of the mechanism, keeps them over
// refreshes, gives back what a failed first Request took, and turns what a hook throws into a refusal.

import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Hop, HopRequest } from '../../../actors/connection/hop.ts';
import { type EndpointHooks, endpointHop } from '../../../actors/nse/endpoint-hop.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { requirePrefix } from '../../../protocols/ipam/address.ts';
import { Leases } from '../../../actors/nse/leases.ts';
import { PointToPointPools } from '../../../protocols/ipam/point-to-point.ts';
import type { Connection } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  type PolicyRoute,
  PolicyRouteSchema,
} from '../../../protocols/nsm/gen/connectioncontext_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import { withParameters } from '../../../protocols/nsm/mechanism.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';
import { call, connectionAt, hopRequest } from '../connection/hop-request.ts';

const path = ['nsc', 'nsmgr', 'forwarder', 'nse', 'left over'];
let hop: Hop;

/** Room for two connections. */
function start(
  hooks: EndpointHooks = {},
  policyRoutes: () => readonly PolicyRoute[] = () => [],
): void {
  const clock = createManualClock();
  hop = endpointHop({
    policyRoutes,
    name: 'nse',
    log: silentLog,
    clock,
    leases: new Leases({
      clock,
      log: silentLog,
      bootId: 'boot',
      keepMs: 1_000,
      policy: 'polite',
      pools: new PointToPointPools([[requirePrefix('10.0.0.0/30', 'test')]]),
    }),
    completeMechanism: (asked) => withParameters(asked, { name: 'nse-1' }),
    mechanismTypes: ['KERNEL'],
    ...hooks,
  });
}

beforeEach(() => start());

/** Each connection is of another client. */
function first(id: string): HopRequest {
  const names = [`nsc-${id}`, ...path.slice(1)];
  return hopRequest(connectionAt(3, names, { id }), { preferences: [kernelMechanism({})] });
}

const refresh = (previous: Connection): HopRequest =>
  hopRequest(previous, { previous: { connection: previous, memory: {} } });
const addressOf = ({ connection }: { connection: Connection }) =>
  connection.context?.ipContext?.srcIpAddrs;

describe('a Request at an Endpoint', () => {
  it('gets an address for each side and this end of the mechanism, and the path ends here', async () => {
    const { connection, memory } = await hop.request(first('a'));
    expect(connection.context?.ipContext?.srcIpAddrs.length).toBe(1);
    expect(connection.context?.ipContext?.dstIpAddrs.length).toBe(1);
    expect(connection.mechanism).toMatchObject({ type: 'KERNEL', parameters: { name: 'nse-1' } });
    expect(connection.path?.pathSegments.map(({ name }) => name)).toEqual([
      'nsc-a',
      ...path.slice(1, 4),
    ]);
    expect(memory).toEqual({});
  });

  it('keeps its addresses over a refresh, and finds them again after its end', async () => {
    const made = await hop.request(first('a'));
    expect(addressOf(await hop.request(refresh(made.connection)))).toEqual(addressOf(made));
    await hop.close(made.connection, {}, call());
    expect(addressOf(await hop.request(first('b')))).not.toEqual(addressOf(made));
    const back = connectionAt(3, ['nsc-a', ...path.slice(1)], { id: 'another' });
    const again = await hop.request(hopRequest(back, { preferences: [kernelMechanism({})] }));
    expect(addressOf(again)).toEqual(addressOf(made));
  });

  it('gives no two live connections the same address, and refuses when there is none left', async () => {
    const [a, b] = [await hop.request(first('a')), await hop.request(first('b'))];
    expect(addressOf(a)).not.toEqual(addressOf(b));
    await expect(hop.request(first('c'))).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    await hop.close(a.connection, {}, call());
    expect(addressOf(await hop.request(first('c')))).toEqual(addressOf(a));
  });

  it('is refused where no mechanism asked for can be ended here', async () => {
    const preferences = [{ ...kernelMechanism({}), type: 'MEMIF' }];
    await expect(hop.request({ ...first('a'), preferences })).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
    });
  });
});

it('policy routes of the moment are told, and its address stays when they change', async () => {
  let policies = [create(PolicyRouteSchema, { from: '172.16.2.200/24' })];
  start({}, () => policies);
  const made = await hop.request(first('a'));
  const [own] = addressOf(made) ?? [];
  expect(addressOf(made)).toEqual([own, '172.16.2.200/24']);
  const same = await hop.request(refresh(made.connection));
  expect(addressOf(same)).toEqual([own, '172.16.2.200/24']);
  policies = [];
  const after = await hop.request(refresh(same.connection));
  expect(addressOf(after)).toEqual([own]);
  expect(after.connection.context?.ipContext?.policies).toEqual([]);
});

describe('a hook', () => {
  it('may change the answer', async () => {
    start({ onRequest: (connection) => ({ ...connection, labels: { changed: 'yes' } }) });
    expect((await hop.request(first('a'))).connection.labels).toEqual({ changed: 'yes' });
  });

  it('that refuses a first Request takes no address with it', async () => {
    let refuses = true;
    start({
      onRequest(connection) {
        if (refuses) throw new NsmError('PERMISSION_DENIED', 'not you');
        return connection;
      },
    });
    for (const id of ['a', 'b', 'c']) {
      await expect(hop.request(first(id))).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    }
    refuses = false;
    await hop.request(first('d'));
    await hop.request(first('e'));
  });

  it('that refuses a refresh leaves the connection its address', async () => {
    let refuses = false;
    start({
      onRequest(connection) {
        if (refuses) throw new Error('out of sorts');
        return connection;
      },
    });
    const made = await hop.request(first('a'));
    refuses = true;
    await expect(hop.request(refresh(made.connection))).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: 'the Endpoint refused: out of sorts',
      details: { hop: 'nse' },
    });
    refuses = false;
    expect(addressOf(await hop.request(first('b')))).not.toEqual(addressOf(made));
  });

  it('hears of the end, and may fail there without keeping an address', async () => {
    const ended: string[] = [];
    start({
      onClose({ id }) {
        ended.push(id);
        throw new Error('out of sorts');
      },
    });
    const made = await hop.request(first('a'));
    await expect(hop.close(made.connection, {}, call())).rejects.toThrow('out of sorts');
    expect(ended).toEqual(['a']);
    await hop.request(first('b'));
    expect(addressOf(await hop.request(first('c')))).toEqual(addressOf(made));
  });
});
