// Protects the start of an Endpoint: over a state directory that it cannot use it serves, and says what that costs; two of
// one name in one directory are told who the other is, and the first one keeps what is its own.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openEndpointJournals } from '../../../bin/roles/endpoint-journals.ts';
import { type Log, silentLog } from '../../../protocols/ports/log.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';

let directory: string;
let told: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'vwire-endpoint-journals-'));
  told = [];
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const open = (where = directory) => {
  const log: Log = { ...silentLog, warn: (message) => void told.push(message) };
  return openEndpointJournals({ directory: where, name: 'nse', log, clock: systemClock });
};

it('both journals are opened, and again by the next life', async () => {
  for (let life = 0; life < 2; life += 1) {
    const { journal, leaseJournal } = await open();
    await journal?.put('connection', new Uint8Array([1]));
    await leaseJournal?.put('lease', new Uint8Array([2]));
    await journal?.close();
    await leaseJournal?.close();
  }
  const { journal, leaseJournal } = await open();
  expect([...((await journal?.load()) ?? [])].map(([key]) => key)).toEqual(['connection']);
  expect([...((await leaseJournal?.load()) ?? [])].map(([key]) => key)).toEqual(['lease']);
  await journal?.close();
  await leaseJournal?.close();
  expect(told).toEqual([]);
});

it('a directory that cannot be written: it starts without, and says so', async () => {
  writeFileSync(join(directory, 'file'), '');
  expect(await open(join(directory, 'file', 'below'))).toEqual({});
  expect(told).toEqual([
    'serving without a journal: a restart of this process forgets its clients',
  ]);
});

it('a second Endpoint of the name is refused, naming the first, and frees what it had taken', async () => {
  const first = await open();
  await expect(open()).rejects.toMatchObject({
    code: 'FAILED_PRECONDITION',
    message: 'an Endpoint nse runs here already',
    details: { rule: 'NSM_NAME', found: expect.stringContaining(`process ${process.pid}`) },
  });
  await first.journal?.close();
  // The other journal is still the first one's.
  await expect(open()).rejects.toMatchObject({ message: 'an Endpoint nse runs here already' });
  await first.leaseJournal?.close();
  const { journal, leaseJournal } = await open();
  await journal?.close();
  await leaseJournal?.close();
});
