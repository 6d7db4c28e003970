// The supplier of processes against real processes and namespaces, and what only it can get wrong: a kill of the
// supplier between any two of its steps, a process id that another process has by now, another boot, a bad command.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Journal } from '../../protocols/ports/journal.ts';
import { createMemoryJournal } from '../../transports/journal/memory-journal.ts';
import { decodeRecord, encodeRecord } from '../../transports/process/supplied-record.ts';
import { eventually } from '../sandbox/eventually.ts';
import { whyNoNamespaces } from '../sandbox/namespaces.ts';
import {
  createGround,
  processSupplierOn,
  type SupplierGround,
} from '../sandbox/process-supplier.ts';
import { connectionFor, endpointSupplierContract } from './endpoint-supplier.ts';

const reason = whyNoNamespaces();
const skipped = reason === undefined ? undefined : `needs network namespaces: ${reason}`;
const budget = { timeoutMs: 10_000 };
let ground: SupplierGround;

beforeEach(() => {
  ground = createGround();
});

afterEach(() => ground.end());

endpointSupplierContract('processes', () => processSupplierOn(ground), skipped);

/** Writes nothing any more from its n-th change on, as the disk of a process that was killed there. */
function diesAtPut(journal: Journal, last: number): Journal {
  let puts = 0;
  const never = new Promise<never>(() => {});
  return {
    ...journal,
    put: (key, value) => {
      puts += 1;
      return puts <= last ? journal.put(key, value) : never;
    },
    close: async () => {},
  };
}

describe.skipIf(skipped !== undefined)('a process supplier', () => {
  it('killed after the intent, finds the process by its mark', async () => {
    const journal = createMemoryJournal();
    ground.journal = diesAtPut(journal, 1);
    const first = await processSupplierOn(ground);
    void first.supplier.start(connectionFor('a'), budget);
    await eventually('it runs', 10_000, () => expect(first.traces('nse-a')).toHaveLength(3));
    await first.supplier.close();
    ground.journal = journal;
    const { supplier, traces } = await processSupplierOn(ground);
    expect(supplier.running().map(({ name }) => name)).toEqual(['nse-a']);
    expect(traces('nse-a')[0]).toBe(supplier.running()[0]?.what);
    await supplier.remove('nse-a', budget);
    expect(traces('nse-a')).toEqual([]);
    await supplier.close();
  });

  it('killed before the process was there, removes the namespace that it made', async () => {
    const record = {
      name: 'nse-a',
      mark: 'none',
      bootId: ground.bootId,
      namespace: 'nse-a',
      ownsNamespace: true,
    };
    ground.namespaces.make('nse-a');
    await ground.journal.put('nse-a', encodeRecord(record));
    const { supplier, traces } = await processSupplierOn(ground);
    const ended: string[] = [];
    supplier.watch(({ name }) => void ended.push(name));
    expect(ended).toEqual(['nse-a']);
    await supplier.remove('nse-a', budget);
    expect(traces('nse-a')).toEqual([]);
    expect(await ground.journal.load()).toEqual(new Map());
    await supplier.close();
  });

  it.each([
    ['of another start time', (ticks: number) => ticks - 1, 'this boot'],
    ['of another boot', (ticks: number) => ticks, 'another boot'],
  ])('signals no process %s', async (_, change, bootId) => {
    const first = await processSupplierOn(ground);
    await first.supplier.start(connectionFor('a'), budget);
    await first.supplier.close();
    const [entry] = await ground.journal.load();
    const record = decodeRecord(entry?.[1] ?? new Uint8Array());
    const { pid = 0, startTicks = 0 } = record.process ?? {};
    const process = { pid, startTicks: change(startTicks) };
    await ground.journal.put('nse-a', encodeRecord({ ...record, mark: 'x', process, bootId }));
    const { supplier, traces, kill } = await processSupplierOn(ground);
    expect(supplier.running()).toEqual([]);
    await supplier.remove('nse-a', budget);
    expect(traces('nse-a')).toEqual([`process ${pid}`]);
    await kill('nse-a');
    expect(traces('nse-a')).toEqual([]);
    await supplier.close();
  });

  it('leaves a namespace alone that it did not make', async () => {
    ground.namespaces.make('nse-a');
    const { supplier, traces } = await processSupplierOn(ground);
    await supplier.start(connectionFor('a'), budget);
    await supplier.remove('nse-a', budget);
    expect(traces('nse-a')).toEqual(['namespace nse-a', expect.stringContaining('mount')]);
    ground.namespaces.remove('nse-a');
    await supplier.close();
  });

  it('says what cannot be started, and leaves nothing of it', async () => {
    ground.command = ['/no/such/program'];
    const { supplier, traces } = await processSupplierOn(ground);
    await expect(supplier.start(connectionFor('a'), budget)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: { rule: 'template, command', found: '/no/such/program' },
    });
    expect(traces('nse-a')).toEqual([]);
    expect(supplier.running()).toEqual([]);
    await supplier.close();
  });

  it('tells how a process ended that did so at once', async () => {
    ground.command = ['false'];
    const { supplier } = await processSupplierOn(ground);
    const ended: string[] = [];
    supplier.watch(({ how, isClean }) => void ended.push(`${how}, ${isClean}`));
    await supplier.start(connectionFor('a'), budget);
    await eventually('it is told', 10_000, () => expect(ended).toEqual(['exit code 1, false']));
    await supplier.remove('nse-a', budget);
    await supplier.close();
  });

  it('goes on without a record that it cannot read', async () => {
    await ground.journal.put('nse-a', new TextEncoder().encode('{"version":2}'));
    const { supplier } = await processSupplierOn(ground);
    expect(supplier.running()).toEqual([]);
    expect(await ground.journal.load()).toEqual(new Map());
    await supplier.close();
  });
});
