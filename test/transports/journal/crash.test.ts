// Protects the promise of the journal across kill -9: a real child process writes in a loop and reports each
// acknowledged change; it is killed in mid-write; every change that it reported must be there after a reopen, and the lock must be free.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { silentLog } from '../../../protocols/ports/log.ts';
import { openJournal } from '../../../transports/journal/journal.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';

const child = fileURLToPath(new URL('./crash-child.ts', import.meta.url));

describe('a journal whose process is killed', () => {
  it.each(['always', 'interval', 'never'] as const)(
    'has lost nothing acknowledged with fsync %s',
    async (fsync) => {
      const directory = await mkdtemp(join(tmpdir(), 'vwire-crash-'));
      try {
        for (const rounds of [40, 400]) {
          const acknowledged = await writeUntilKilled(directory, fsync, rounds);
          const journal = await openJournal({
            directory,
            name: 'crash',
            fsync,
            log: silentLog,
            clock: createManualClock(),
          });
          const loaded = await journal.load();
          for (const [key, round] of acknowledged) {
            const found = Number(Buffer.from(loaded.get(key) ?? []).toString('latin1', 0, 10));
            expect(found, `${key} after kill`).toBeGreaterThanOrEqual(round);
          }
          expect(acknowledged.size).toBeGreaterThan(0);
          await journal.close();
        }
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    },
  );
});

async function writeUntilKilled(
  directory: string,
  fsync: string,
  linesBeforeKill: number,
): Promise<Map<string, number>> {
  const writer = spawn(process.execPath, ['--import', 'tsx', child, directory, fsync], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const acknowledged = new Map<string, number>();
  let lines = 0;
  for await (const line of createInterface({ input: writer.stdout })) {
    const [key, round] = line.split(' ');
    if (key === undefined || round === undefined) continue;
    acknowledged.set(key, Number(round));
    lines += 1;
    if (lines === linesBeforeKill) writer.kill('SIGKILL');
  }
  return acknowledged;
}
