// Protects both clients against an Open vSwitch that is restarted, killed in the middle of a transaction, stopped for
// a while, or left waiting: calls end, the rest goes on, a fresh state follows, and nothing is left open.

import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { addFlow, allFlows, fromPort, output } from '../../protocols/ovs/flow-builders.ts';
import type { FlowMod } from '../../protocols/ovs/flow.ts';
import { port } from '../../protocols/ovs/openflow-constants.ts';
import { comment, insert, select } from '../../protocols/ovs/ovsdb-operations.ts';
import { numberOf } from '../../protocols/ovs/ovsdb-values.ts';
import type { OpenFlowEvent } from '../../protocols/ports/ovs.ts';
import { createOpenFlowClient } from '../../transports/openflow/openflow-client.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import { eventually } from '../sandbox/eventually.ts';
import { whyNoOvs } from '../sandbox/ovs.ts';
import {
  addPort,
  appliedConfiguration,
  bridge,
  budget,
  startBridge,
  watchRows,
} from './ovs-bridge.ts';

const reason = whyNoOvs();
if (reason !== undefined) console.warn(`skipped, no Open vSwitch: ${reason}`);

const flow = (cookie: bigint, inPort: number, to: number = port.inPort): FlowMod =>
  addFlow({ cookie, priority: 100, match: [fromPort(inPort)], actions: [output(to)] });

const openDescriptors = () => readdirSync('/proc/self/fd').length;

describe.skipIf(reason !== undefined)('an Open vSwitch that fails', () => {
  test('the switch killed and started again: the client says so, and flows can be put back', async () => {
    const fixture = await startBridge();
    const events: OpenFlowEvent['kind'][] = [];
    fixture.flows.watch(({ kind }) => events.push(kind));
    await fixture.apply(addPort('keep', 33, 'me'));
    await fixture.flows.commit([flow(1n, 33)], budget);
    await fixture.ovs.signal('switch', 'SIGKILL');
    const waiting = fixture.flows.flows(allFlows, budget);
    await fixture.ovs.startSwitch();
    expect(await waiting).toEqual([]);
    const lives = events.filter((kind) => kind === 'lost' || kind === 'connected');
    expect(lives.slice(0, 2)).toEqual(['lost', 'connected']);
    await fixture.flows.commit([flow(1n, 33)], budget);
    await eventually('the port with its number', 5000, async () => {
      const ports = await fixture.flows.ports(budget);
      expect(ports.find(({ name }) => name === 'keep')?.number).toBe(33);
    });
    await fixture.close();
  });

  test('the database killed in the middle of transactions: each is whole or absent', async () => {
    const fixture = await startBridge();
    const before = openDescriptors();
    const outcomes = Array.from({ length: 200 }, (_, index) =>
      fixture.database.transact(addPort(`k${index}`, 1000 + index, 'me'), budget),
    );
    const all = Promise.allSettled(outcomes);
    await outcomes[0];
    await fixture.ovs.signal('database', 'SIGKILL');
    const settled = await all;
    await fixture.ovs.startDatabase();
    const [interfaces, ports] = await fixture.database.transact(
      [
        select('Interface', [['type', '==', 'patch']], ['name']),
        select('Port', [['name', '!=', bridge]], ['name']),
      ],
      budget,
    );
    const names = (rows: typeof interfaces) => rows?.rows.map(({ name }) => name).sort();
    expect(names(interfaces)).toEqual(names(ports));
    const present = new Set(names(ports));
    for (const [index, result] of settled.entries()) {
      if (result.status === 'fulfilled') expect(present).toContain(`k${index}`);
      else {
        expect(result.reason).toMatchObject({
          code: 'UNAVAILABLE',
          details: { found: expect.stringContaining('it may have happened') },
        });
      }
    }
    const kinds = fixture.seen.events.map(({ kind }) => kind);
    await fixture.seen.until('a fresh state', ({ events }) =>
      events.filter(({ kind }) => kind === 'reset').length === 2 ? true : undefined,
    );
    expect(kinds).toContain('lost');
    expect(fixture.seen.row('Bridge', bridge)).toBeDefined();
    // The switch follows the new server too.
    await fixture.apply(addPort('after', 900, 'me'));
    expect(numberOf(fixture.seen.row('Interface', 'after')?.['ofport'])).toBe(900);
    expect(openDescriptors()).toBe(before);
    await fixture.close();
  });

  test('a stopped server: calls end by their deadline, and go on when it does', async () => {
    const fixture = await startBridge();
    await fixture.ovs.signal('switch', 'SIGSTOP');
    await expect(fixture.flows.commit([flow(1n, 1)], { timeoutMs: 200 })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      details: { found: 'sent, so it may have happened' },
    });
    await fixture.ovs.signal('switch', 'SIGCONT');
    expect(await fixture.flows.flows(allFlows, budget)).toEqual([]);
    await fixture.flows.commit([flow(2n, 2)], budget);
    expect((await fixture.flows.flowSums(allFlows, budget)).flows).toBe(1);

    await fixture.ovs.signal('database', 'SIGSTOP');
    const abandoned = new AbortController();
    const cancelled = fixture.database.transact(addPort('slow', 9, 'me'), {
      ...budget,
      signal: abandoned.signal,
    });
    abandoned.abort();
    await expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(
      fixture.database.transact([comment('late')], { timeoutMs: 200 }),
    ).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await fixture.ovs.signal('database', 'SIGCONT');
    await fixture.apply([comment('goes on')]);
    await fixture.close();
  });

  test('a wait of the database is cancelled there when its caller gives up', async () => {
    const fixture = await startBridge();
    const impossible = {
      op: 'wait',
      table: 'Bridge',
      where: [['name', '==', 'never']],
      columns: ['name'],
      until: '!=',
      rows: [],
      timeout: 60_000,
    } as const;
    const never = insert('Open_vSwitch', {});
    await expect(
      fixture.database.transact([impossible, never], { timeoutMs: 100 }),
    ).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    const [roots] = await fixture.database.transact(
      [select('Open_vSwitch', [], ['_uuid'])],
      budget,
    );
    expect(roots?.rows).toHaveLength(1);
    await fixture.close();
  });

  test('nothing is left: no descriptor of 50 clients of each kind that came and went', async () => {
    const fixture = await startBridge();
    const before = openDescriptors();
    for (let turn = 0; turn < 50; turn += 1) {
      const client = createOvsdbClient({ socketPath: fixture.ovs.databaseSocket, host: unixHost });
      const seen = watchRows(client);
      await seen.until('a state', (now) => appliedConfiguration(now, 0));
      const socketPath = fixture.ovs.bridgeSocket(bridge);
      const flows = createOpenFlowClient({ socketPath, host: unixHost });
      await flows.commit([flow(1n, 1)], budget);
      const unanswered = flows.flows(allFlows, budget).catch((error: unknown) => error);
      await Promise.all([client.close(), flows.close()]);
      expect(await unanswered).toMatchObject({ code: 'UNAVAILABLE' });
    }
    await eventually('descriptors are closed', 5000, () => expect(openDescriptors()).toBe(before));
    await fixture.close();
  });
});
