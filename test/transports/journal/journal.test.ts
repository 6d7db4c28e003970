// Protects what every restart stands on: an acknowledged change is there after a reopen, in the order of the
// changes; a second opener is refused by name; damage costs only the damaged records; queues are bounded.

import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { formats } from '../../../protocols/formats.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import {
  type FileJournal,
  type JournalOptions,
  openJournal,
} from '../../../transports/journal/journal.ts';
import {
  encodeHeader,
  encodeRecord,
  recordHeadBytes,
  resaltRecord,
} from '../../../transports/journal/record-codec.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : new TextDecoder().decode(value);

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vwire-journal-'));
  path = join(directory, 'intents.journal');
});

afterEach(async () => rm(directory, { recursive: true, force: true }));

function open(more: Partial<JournalOptions> = {}): Promise<FileJournal> {
  return openJournal({
    directory,
    name: 'intents',
    fsync: 'never',
    log: silentLog,
    clock: createManualClock(),
    ...more,
  });
}

async function contents(): Promise<Record<string, string | undefined>> {
  const journal = await open();
  const loaded = await journal.load();
  await journal.close();
  return Object.fromEntries([...loaded].map(([key, value]) => [key, text(value)]));
}

describe('a journal', () => {
  it('gives back the newest value per key, oldest change first', async () => {
    const journal = await open({ fsync: 'always' });
    expect((await journal.load()).size).toBe(0);
    await journal.put('a', bytes('1'));
    await journal.put('b', bytes('1'));
    await journal.put('c', bytes('1'));
    await journal.put('a', bytes('2'));
    await journal.delete('b');
    await journal.delete('never-there');
    await journal.close();
    const reopened = await open();
    expect([...(await reopened.load()).keys()]).toEqual(['c', 'a']);
    await reopened.close();
    expect(await contents()).toEqual({ c: '1', a: '2' });
  });

  it('refuses a second opener, naming the holder, and is free again after close', async () => {
    const journal = await open();
    await expect(open()).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: { rule: 'journal-lock', found: expect.stringContaining(String(process.pid)) },
    });
    await journal.close();
    await (await open()).close();
  });

  it('refuses to be loaded twice or after a change, rather than to look empty', async () => {
    const journal = await open();
    await journal.load();
    await expect(journal.load()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    await journal.close();
    const changed = await open();
    await changed.put('a', bytes('1'));
    await expect(changed.load()).rejects.toMatchObject({ code: 'FAILED_PRECONDITION' });
    await changed.close();
  });

  it('writes many changes at once and acknowledges each', async () => {
    const journal = await open({ fsync: 'always' });
    await Promise.all(
      Array.from({ length: 2_000 }, (_, index) => journal.put(`k${index}`, bytes(`${index}`))),
    );
    await journal.close();
    expect(Object.keys(await contents())).toHaveLength(2_000);
  });

  it('refuses changes beyond its queue instead of growing', async () => {
    const journal = await open({ queueDepthMax: 10 });
    const results = await Promise.allSettled(
      Array.from({ length: 50 }, (_, index) => journal.put(`k${index}`, bytes('x'))),
    );
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused).toHaveLength(40);
    expect((refused[0] as PromiseRejectedResult).reason).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
    });
    await journal.put('later', bytes('x'));
    await journal.close();
  });

  it('refuses a key or a value beyond its bound, and goes on', async () => {
    const journal = await open();
    await expect(journal.put('k'.repeat(70_000), bytes(''))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await expect(journal.put('k', new Uint8Array(17 * 1024 * 1024))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await journal.put('k', bytes('fits'));
    await journal.close();
    await expect(journal.put('k', bytes('late'))).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
    });
    expect(await contents()).toEqual({ k: 'fits' });
  });

  it('syncs by itself between changes with the interval policy', async () => {
    const clock = createManualClock();
    const journal = await open({ fsync: 'interval', syncIntervalMs: 500, clock });
    await journal.put('a', bytes('1'));
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(500);
    expect(clock.pendingTimers).toBe(0);
    await journal.put('a', bytes('2'));
    await journal.close();
    expect(clock.pendingTimers).toBe(0);
    expect(await contents()).toEqual({ a: '2' });
  });

  it('rewrites its file when garbage outgrows the live part', async () => {
    const journal = await open({ garbageBytesMin: 10_000 });
    await journal.put('kept', bytes('first'));
    for (let round = 0; round < 500; round += 1) {
      await journal.put('busy', bytes(`${round}`.padEnd(100)));
    }
    expect(journal.compactions).toBeGreaterThan(1);
    expect(journal.fileBytes).toBeLessThan(15_000);
    expect((await stat(path)).size).toBe(journal.fileBytes);
    await journal.close();
    expect(await contents()).toEqual({ kept: 'first', busy: '499'.padEnd(100) });
  });

  it('equals a Map after any run of put, delete, rewrite and reopen', async () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('put' as const),
        key: fc.constantFrom('a', 'b', 'c', 'd@e', 'ä/ö'),
        value: fc.uint8Array({ maxLength: 200 }),
      }),
      fc.record({ kind: fc.constant('delete' as const), key: fc.constantFrom('a', 'b', 'd@e') }),
      fc.record({ kind: fc.constant('reopen' as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        await rm(path, { force: true });
        const model = new Map<string, Uint8Array>();
        let journal = await open({ garbageBytesMin: 200 });
        for (const action of steps) {
          if (action.kind === 'reopen') {
            await journal.close();
            journal = await open({ garbageBytesMin: 200 });
          } else if (action.kind === 'delete') {
            await journal.delete(action.key);
            model.delete(action.key);
          } else {
            await journal.put(action.key, action.value);
            model.delete(action.key);
            model.set(action.key, action.value);
          }
        }
        await journal.close();
        journal = await open();
        const loaded = await journal.load();
        await journal.close();
        expect([...loaded]).toEqual([...model]);
      }),
      { numRuns: 60 },
    );
  });
});

describe('a damaged journal', () => {
  async function filled(): Promise<Buffer> {
    const journal = await open();
    for (let index = 0; index < 5; index += 1) {
      await journal.put(`k${index}`, bytes(`value ${index}`));
    }
    await journal.close();
    return readFile(path);
  }

  it('loses only its torn tail, says so, and can be appended to', async () => {
    const whole = await filled();
    await truncate(path, whole.length - 3);
    const journal = await open();
    expect(journal.damage).toMatchObject([{ place: 'tail' }]);
    expect([...(await journal.load()).keys()]).toEqual(['k0', 'k1', 'k2', 'k3']);
    await journal.put('k9', bytes('new'));
    await journal.close();
    expect(await contents()).toMatchObject({ k3: 'value 3', k9: 'new' });
  });

  it('passes over a damaged record in the middle and says where', async () => {
    const whole = await filled();
    const at = whole.indexOf('value 2');
    whole[at] = 0x58;
    await writeFile(path, whole);
    const journal = await open();
    expect(journal.damage).toMatchObject([{ place: 'middle' }]);
    expect(journal.damage[0]?.offset).toBeLessThan(at);
    expect([...(await journal.load()).keys()]).toEqual(['k0', 'k1', 'k3', 'k4']);
    await journal.close();
  });

  it('never takes the image of a record inside a value for a record', async () => {
    const forged = (await filled()).subarray(20);
    const journal = await open();
    await journal.put('carrier', forged);
    await journal.put('k0', bytes('newest'));
    await journal.close();
    const whole = await readFile(path);
    await rm(path);
    // Another file has another salt: the same bytes as a value there, with the carrier's own record damaged.
    const other = await open();
    await other.put('carrier', whole.subarray(20));
    await other.put('after', bytes('x'));
    await other.close();
    const damaged = await readFile(path);
    damaged[damaged.indexOf('carrier')] = 0x58;
    await writeFile(path, damaged);
    expect(await contents()).toEqual({ after: 'x' });
  });

  it('puts a file without a readable header aside, says so, and begins anew', async () => {
    const said: string[] = [];
    const log = { ...silentLog, error: (text: string) => void said.push(text) };
    const whole = await filled();
    whole[12] = (whole[12] ?? 0) ^ 0xff;
    for (const damaged of [whole, Buffer.from('this is no journal, but long enough')]) {
      await writeFile(path, damaged);
      const journal = await open({ log });
      expect((await journal.load()).size).toBe(0);
      await journal.put('k', bytes('new'));
      await journal.close();
      expect(await readFile(`${path}.damaged`)).toEqual(damaged);
      expect(await contents()).toEqual({ k: 'new' });
    }
    expect(said).toHaveLength(2);
  });

  it.each(['file', 'record in a file that an older one began'])(
    'refuses a newer %s with a clear error, and does not change a byte of it',
    async (what) => {
      const salt = Buffer.alloc(8);
      const header = encodeHeader(salt);
      const record = encodeRecord(salt, 'put', 'k', Buffer.from('value'));
      if (what === 'file') {
        header.writeUInt8(9, 7);
        header.writeUInt32BE(crc32(header.subarray(0, 16)), 16);
      } else {
        record.writeUInt8(9, recordHeadBytes);
      }
      // With a torn tail, which is cut off where the file is one's own.
      const newer = Buffer.concat([header, resaltRecord(record, salt), Buffer.from('torn')]);
      await writeFile(path, newer);
      await expect(open()).rejects.toMatchObject({
        code: 'FAILED_PRECONDITION',
        message: expect.stringContaining(path),
        details: {
          expected: `format version ${formats.journal} or older`,
          found: 'format version 9',
          remedy: expect.stringContaining('run the newer vwire again'),
        },
      });
      expect(await readFile(path)).toEqual(newer);
      await rm(path);
      await (await open()).close();
    },
  );

  it('survives any bit flips and cuts without inventing a value', async () => {
    const whole = await filled();
    const truth = new Map(
      Array.from({ length: 5 }, (_, index) => [`k${index}` as string, `value ${index}`] as const),
    );
    const edits = fc.array(
      fc.record({ at: fc.nat(whole.length - 1), flip: fc.integer({ min: 1, max: 255 }) }),
      { maxLength: 6 },
    );
    await fc.assert(
      fc.asyncProperty(edits, fc.nat(whole.length), async (flips, cut) => {
        const mutated = Buffer.from(whole.subarray(0, whole.length - (cut % 64)));
        for (const { at, flip } of flips) {
          if (at < mutated.length) mutated[at] = (mutated[at] ?? 0) ^ flip;
        }
        await writeFile(path, mutated);
        try {
          const journal = await open();
          for (const [key, value] of await journal.load()) expect(text(value)).toBe(truth.get(key));
          await journal.close();
        } catch (error) {
          expect(error).toBeInstanceOf(NsmError);
        }
      }),
      { numRuns: 400 },
    );
  });
});
