// Protects what the Open vSwitch data plane builds on, against a real Open vSwitch: a port with a requested number
// until it is applied, flows all or none, statistics by owner, and refusals that name what was wrong.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  addFlow,
  allFlows,
  deleteFlow,
  deleteFlowsByCookie,
  exactCookie,
  flowsByCookie,
  fromPort,
  modifyFlow,
  output,
  popVlan,
  pushVlanId,
  setTunnelId,
  withTunnelId,
  withVlanId,
} from '../../protocols/ovs/flow-builders.ts';
import type { FlowMod } from '../../protocols/ovs/flow.ts';
import { flowModFlag, port } from '../../protocols/ovs/openflow-constants.ts';
import {
  abort,
  comment,
  expectNone,
  insert,
  mutate,
  remove,
  select,
  update,
} from '../../protocols/ovs/ovsdb-operations.ts';
import { entriesOf, numberOf, setOf, textOf, uuid } from '../../protocols/ovs/ovsdb-values.ts';
import { isPortUp } from '../../protocols/ovs/switch-port.ts';
import type { OpenFlowEvent } from '../../protocols/ports/ovs.ts';
import { eventually } from '../sandbox/eventually.ts';
import { whyNoOvs } from '../sandbox/ovs.ts';
import type { OvsFixture } from './ovs-bridge.ts';
import { addPort, bridge, budget, startBridge } from './ovs-bridge.ts';

const reason = whyNoOvs();
if (reason !== undefined) console.warn(`skipped, no Open vSwitch: ${reason}`);

const flow = (cookie: bigint, inPort: number, to: number = port.inPort): FlowMod =>
  addFlow({ cookie, priority: 100, match: [fromPort(inPort)], actions: [output(to)] });

describe.skipIf(reason !== undefined)('a running Open vSwitch', () => {
  let fixture: OvsFixture;
  const cookies = async () =>
    (await fixture.flows.flows(allFlows, budget))
      .map(({ cookie }) => cookie)
      .sort((a, b) => Number(a - b));

  beforeAll(async () => {
    fixture = await startBridge();
  });

  afterAll(async () => {
    await fixture.close();
  });

  test('a bridge with fail_mode secure has no flow of its own, and says what it is', async () => {
    expect(textOf(fixture.seen.row('Bridge', bridge)?.['fail_mode'])).toBe('secure');
    expect(await cookies()).toEqual([]);
    expect((await fixture.flows.features(budget)).tables).toBe(254);
    expect((await fixture.flows.description(budget)).hardware).toBe('Open vSwitch');
    const [local] = await fixture.flows.ports(budget);
    expect(local).toMatchObject({ number: port.local, name: bridge });
    expect(local === undefined || isPortUp(local)).toBe(false);
  });

  test('a port gets the number that it asks for, and the switch tells of it', async () => {
    const events: OpenFlowEvent[] = [];
    const stop = fixture.flows.watch((event) => events.push(event));
    await fixture.apply(addPort('p42', 42, 'me'));
    const row = fixture.seen.row('Interface', 'p42');
    expect(numberOf(row?.['ofport'])).toBe(42);
    expect(entriesOf(row?.['external_ids']).get('owner')).toBe('me');
    await eventually('a port status', 5000, () =>
      expect(events).toContainEqual(
        expect.objectContaining({ kind: 'portStatus', reason: 'added' }),
      ),
    );
    expect((await fixture.flows.portStatistics(budget)).map(({ number }) => number)).toContain(42);

    const again = fixture.database.transact(addPort('p42', 43, 'me'), budget);
    await expect(again).rejects.toMatchObject({ code: 'ABORTED' });
    const rows = await fixture.database.transact(
      [select('Port', [['name', '==', 'p42']], ['_uuid'])],
      budget,
    );
    const identity = rows[0]?.rows[0]?.['_uuid'];
    if (!Array.isArray(identity)) throw new Error('no port');
    const remaining = setOf(uuid(String(identity[1])));
    await fixture.apply([mutate('Bridge', [], [['ports', 'delete', remaining]])]);
    expect(fixture.seen.row('Interface', 'p42')).toBeUndefined();
    await eventually('a port status', 5000, () =>
      expect(events.at(-1)).toMatchObject({ reason: 'deleted' }),
    );
    stop();
  });

  test('an interface that cannot be opened is told in its row', async () => {
    const operations = addPort('vwnodevice', 7, 'me').map((operation) =>
      operation.op === 'insert' && operation.table === 'Interface'
        ? insert('Interface', { name: 'vwnodevice' }, 'interface')
        : operation,
    );
    await fixture.apply(operations);
    const row = fixture.seen.row('Interface', 'vwnodevice');
    expect(textOf(row?.['error'])).toContain('No such device');
    expect(numberOf(row?.['ofport'])).toBe(-1);
  });

  const refused: readonly [string, FlowMod, string, string][] = [
    [
      'an unknown output port',
      flow(9n, 9, 0xfffffff0),
      'BAD_ACTION/BAD_OUT_PORT',
      'INVALID_ARGUMENT',
    ],
    [
      'a match without its prerequisite',
      addFlow({ cookie: 9n, priority: 1, match: [{ field: 'ipProto', value: 6 }], actions: [] }),
      'BAD_MATCH/BAD_PREREQ',
      'INVALID_ARGUMENT',
    ],
    [
      'a jump backwards',
      { ...flow(9n, 9), table: 4, instructions: [{ kind: 'gotoTable', table: 3 }] },
      'BAD_INSTRUCTION/BAD_TABLE_ID',
      'INVALID_ARGUMENT',
    ],
    [
      'what only the commit can find wrong',
      addFlow({
        cookie: 9n,
        priority: 100,
        match: [],
        actions: [],
        flags: flowModFlag.checkOverlap,
      }),
      'FLOW_MOD_FAILED/OVERLAP',
      'ALREADY_EXISTS',
    ],
  ];

  test.each(refused)('%s undoes all of a commit and is named', async (_, bad, rule, code) => {
    await fixture.flows.commit([flow(1n, 1), flow(2n, 2)], budget);
    const changes = [deleteFlowsByCookie(1n), flow(3n, 3), bad, flow(4n, 4)];
    await expect(fixture.flows.commit(changes, budget)).rejects.toMatchObject({
      code,
      details: { rule, found: expect.stringContaining('flow modification 3 of 4: add') },
    });
    expect(await cookies()).toEqual([1n, 2n]);
  });

  test('modifications one by one keep what was not refused', async () => {
    const bad = flow(9n, 9, 0xfffffff0);
    await expect(
      fixture.flows.program([flow(5n, 5), bad, flow(6n, 6), bad], budget),
    ).rejects.toMatchObject({ details: { found: expect.stringContaining('2 of 4') } });
    expect(await cookies()).toEqual([1n, 2n, 5n, 6n]);
    await fixture.flows.program([deleteFlowsByCookie(4n, ~3n & exactCookie)], budget);
    expect(await cookies()).toEqual([1n, 2n]);
  });

  test('flows are changed and deleted only for their owner, and counted by it', async () => {
    const to = (cookie: bigint, number: number) => ({
      cookie,
      priority: 100,
      match: [fromPort(1)],
      actions: [output(number)],
    });
    await fixture.flows.program([modifyFlow(to(7n, 50)), deleteFlow(to(7n, 50))], budget);
    await fixture.flows.program([modifyFlow(to(1n, 60))], budget);
    const [found] = await fixture.flows.flows(flowsByCookie(1n), budget);
    expect(found).toMatchObject({
      cookie: 1n,
      priority: 100,
      match: [{ field: 'inPort', value: 1 }],
      instructions: [{ kind: 'applyActions', actions: [{ kind: 'output', port: 60 }] }],
    });
    expect(await fixture.flows.flowSums(flowsByCookie(1n), budget)).toEqual({
      packets: 0n,
      bytes: 0n,
      flows: 1,
    });
    await fixture.flows.program([deleteFlow(to(1n, 60))], budget);
    expect(await cookies()).toEqual([2n]);
  });

  test('tunnel and VLAN flows come back as they were written', async () => {
    const specs = [
      { match: [fromPort(1)], actions: [setTunnelId(5), output(2)] },
      { match: [fromPort(2), withTunnelId(5)], actions: [...pushVlanId(7), output(3)] },
      { match: [fromPort(3), withVlanId(7)], actions: [popVlan, output(1)] },
    ].map((spec) => ({ cookie: 8n, priority: 200, ...spec }));
    await fixture.flows.commit(specs.map(addFlow), budget);
    const found = await fixture.flows.flows(flowsByCookie(8n), budget);
    expect(found).toHaveLength(specs.length);
    for (const { match, actions } of specs) {
      const instructions = [{ kind: 'applyActions', actions }];
      expect(found).toContainEqual(expect.objectContaining({ match, instructions }));
    }
    await fixture.flows.commit([deleteFlowsByCookie(8n)], budget);
  });

  test('a barrier is told of once it is answered, before whoever asked for it goes on', async () => {
    const kinds: OpenFlowEvent['kind'][] = [];
    const stop = fixture.flows.watch(({ kind }) => kinds.push(kind));
    await fixture.flows.barrier(budget);
    expect(kinds).toEqual(['barrier']);
    stop();
  });

  test('a flow that asks for it is told of when it goes', async () => {
    const events: OpenFlowEvent[] = [];
    const stop = fixture.flows.watch((event) => events.push(event));
    await fixture.flows.program([{ ...flow(11n, 11), flags: flowModFlag.sendFlowRemoved }], budget);
    await fixture.flows.program([deleteFlowsByCookie(11n)], budget);
    await eventually('a removed flow', 5000, () =>
      expect(events.filter(({ kind }) => kind !== 'barrier')).toMatchObject([
        { kind: 'flowRemoved', removed: { cookie: 11n, reason: 'deleted' } },
      ]),
    );
    stop();
  });

  test('2,000 flows in one bundle, and their statistics in several messages', async () => {
    const many = Array.from({ length: 2000 }, (_, index) =>
      addFlow({
        cookie: 77n,
        priority: 5,
        match: [fromPort(1), withTunnelId(index + 1)],
        actions: [output(2)],
      }),
    );
    await fixture.flows.commit(many, budget);
    expect(await fixture.flows.flows(flowsByCookie(77n), budget)).toHaveLength(2000);
    expect((await fixture.flows.flowSums(flowsByCookie(77n), budget)).flows).toBe(2000);
    await fixture.flows.commit([deleteFlowsByCookie(77n)], budget);
    expect((await fixture.flows.flowSums(flowsByCookie(77n), budget)).flows).toBe(0);
  });

  test('the database names what it refuses, and nothing of the transaction happens', async () => {
    const attempt = (...operations: Parameters<typeof fixture.database.transact>[0]) =>
      fixture.database.transact([insert('Open_vSwitch', {}), ...operations], budget);
    await expect(attempt(insert('Nope', {}))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { rule: expect.stringContaining('insert Nope') },
    });
    await expect(attempt(update('Bridge', [], { fail_mode: 'bogus' }))).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: { rule: 'operation 2 of 2, update Bridge (fail_mode)' },
    });
    await expect(attempt(insert('Port', { name: 'x' }))).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: { rule: expect.any(String) },
    });
    await expect(
      attempt(expectNone('Bridge', [['name', '==', bridge]], 'name')),
    ).rejects.toMatchObject({
      code: 'ABORTED',
    });
    await expect(attempt(comment('nothing'), abort())).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(attempt()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    const [roots] = await fixture.database.transact(
      [select('Open_vSwitch', [], ['_uuid'])],
      budget,
    );
    expect(roots?.rows).toHaveLength(1);
    await expect(fixture.database.transact([remove('Bridge', [])], budget)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
    });
  });

  test('a monitor with a condition shows the rows that fulfil it, whole', async () => {
    const events: unknown[] = [];
    const columns = ['name', 'type', 'external_ids'];
    const stop = fixture.database.monitor(
      [{ table: 'Interface', columns, where: [['name', '==', 'cond']] }],
      (event) => events.push(event),
    );
    await fixture.apply(addPort('other', 80, 'me'));
    await fixture.apply(addPort('cond', 81, 'me'));
    const where = [['name', '==', 'cond']] as const;
    await fixture.apply([
      mutate('Interface', where, [['external_ids', 'insert', ['map', [['k', 'v']]]]]),
    ]);
    expect(events).toMatchObject([
      { kind: 'reset', rows: [] },
      { kind: 'changed', changes: [{ kind: 'inserted', row: { name: 'cond', type: 'patch' } }] },
      {
        kind: 'changed',
        changes: [
          {
            kind: 'modified',
            row: {
              external_ids: [
                'map',
                [
                  ['owner', 'me'],
                  ['k', 'v'],
                ],
              ],
            },
          },
        ],
      },
    ]);
    stop();
  });
});
