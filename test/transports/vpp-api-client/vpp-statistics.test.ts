// Protects the way to VPP's counters: the file comes by descriptor, is read in place, again while VPP changes it, and
// nothing of it is left open; a server that is slow, gives nothing or is not there gives one clear error.

import { readdirSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, expect, test } from 'vitest';
import type { VppStatistics } from '../../../protocols/ports/vpp.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { createVppStatistics } from '../../../transports/vpp-api-client/vpp-statistics.ts';
import { fakeSegment, headerAt, interfaceStatistics } from '../../protocols/vpp/fake-segment.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { FakeStatisticsServer } from './fake-statistics-server.ts';
import { startStatisticsServer } from './fake-statistics-server.ts';

const budget = { timeoutMs: 5000 };
const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const part of open.splice(0).reverse()) await part.close();
});

function start(bytes = fakeSegment(interfaceStatistics)): {
  server: FakeStatisticsServer;
  statistics: VppStatistics;
} {
  const server = startStatisticsServer(bytes);
  const statistics = createVppStatistics({ socketPath: server.path, clock: systemClock });
  open.push(server, statistics);
  return { server, statistics };
}

const heartbeat = async (statistics: VppStatistics) =>
  (await statistics.read(['/sys/heartbeat'], budget)).get('/sys/heartbeat');

test('counters are read by name, and what changes in place is seen without asking the server again', async () => {
  const { server, statistics } = start();
  expect(await heartbeat(statistics)).toEqual({ kind: 'scalar', value: 42n });
  const changed = interfaceStatistics.map((each) =>
    each.kind === 'scalar' ? { ...each, value: 43n } : each,
  );
  server.write(fakeSegment(changed, { epoch: 2n }));
  expect(await heartbeat(statistics)).toEqual({ kind: 'scalar', value: 43n });
  expect(await statistics.names(budget)).toContain('/if/rx');
  expect(server.accepted).toBe(1);
});

test('a change that is under way is waited for, up to the deadline', async () => {
  const bytes = fakeSegment(interfaceStatistics);
  bytes.writeBigUInt64LE(1n, headerAt.inProgress);
  const { server, statistics } = start(bytes);
  await expect(statistics.read(['/if/rx'], { timeoutMs: 50 })).rejects.toMatchObject({
    code: 'DEADLINE_EXCEEDED',
    details: { expected: 'a moment without a change', found: 'none in 50 ms' },
  });
  const waiting = statistics.read(['/if/rx'], budget);
  server.write(fakeSegment(interfaceStatistics, { epoch: 2n }));
  expect((await waiting).get('/if/rx')?.kind).toBe('combined');
});

test('after a restart of VPP the new memory is read once it is asked for', async () => {
  const { server, statistics } = start();
  await heartbeat(statistics);
  const next = interfaceStatistics.map((each) =>
    each.kind === 'scalar' ? { ...each, value: 1n } : each,
  );
  server.replace(fakeSegment(next));
  expect(await heartbeat(statistics)).toMatchObject({ value: 42n });
  statistics.reopen();
  expect(await heartbeat(statistics)).toMatchObject({ value: 1n });
  expect(server.accepted).toBe(2);
});

test('a slow server is waited for up to the deadline, and until the call is cancelled', async () => {
  const { server, statistics } = start();
  server.isSlow = true;
  await expect(statistics.names({ timeoutMs: 50 })).rejects.toMatchObject({
    code: 'DEADLINE_EXCEEDED',
    details: { hop: `VPP at ${server.path}`, expected: 'the memory of VPP' },
  });
  const controller = new AbortController();
  const cancelled = statistics.names({ ...budget, signal: controller.signal });
  controller.abort();
  await expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
  server.isSlow = false;
  expect(await statistics.names(budget)).toHaveLength(interfaceStatistics.length);
});

test('no server, a server that gives nothing, too long a path, memory of another kind', async () => {
  const { server, statistics } = start(Buffer.from('something else entirely'));
  const nobody = createVppStatistics({ socketPath: `${server.path}.nobody`, clock: systemClock });
  await expect(nobody.names(budget)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    details: { rule: 'connect', found: 'ENOENT' },
  });
  const long = createVppStatistics({ socketPath: `/${'x'.repeat(107)}`, clock: systemClock });
  await expect(long.names(budget)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  server.isEmpty = true;
  await expect(statistics.names(budget)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    details: { expected: 'a descriptor', found: '0 bytes, then the end' },
  });
  server.isEmpty = false;
  await expect(statistics.names(budget)).rejects.toMatchObject({ code: 'DATA_LOSS' });
});

test('a memory that is asked for after a collection of garbage comes all the same', async () => {
  const { statistics } = start();
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let turn = 0; turn < 5; turn += 1) {
    collect();
    // What was freed is written over, had it been.
    const filling = Array.from({ length: 1_000 }, () => Buffer.alloc(16, 0xff));
    statistics.reopen();
    expect(await heartbeat(statistics)).toEqual({ kind: 'scalar', value: 42n });
    expect(filling).toHaveLength(1_000);
  }
});

test('nothing is left: no descriptor of readers that came and went, or were closed while they waited', async () => {
  const { server } = start();
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const before = descriptors();
  for (let turn = 0; turn < 20; turn += 1) {
    const statistics = createVppStatistics({ socketPath: server.path, clock: systemClock });
    const reads = await Promise.all([heartbeat(statistics), heartbeat(statistics)]);
    expect(reads).toHaveLength(2);
    statistics.close();
    await expect(statistics.names(budget)).rejects.toMatchObject({ details: { found: 'closed' } });
  }
  server.isSlow = true;
  const waiting = createVppStatistics({ socketPath: server.path, clock: systemClock });
  const unanswered = waiting.names(budget).catch((error: unknown) => error);
  waiting.close();
  expect(await unanswered).toMatchObject({ code: 'UNAVAILABLE' });
  await eventually('descriptors are closed', 5000, () => expect(descriptors()).toBe(before));
});
