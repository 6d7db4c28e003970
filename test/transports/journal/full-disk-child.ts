// The process of full-disk.test.ts: fills the file system that its journal lies on, then frees it again, and prints what
// each change met.

import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asNsmError } from '../../../protocols/errors.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { openJournal } from '../../../transports/journal/journal.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';

const [directory = ''] = process.argv.slice(2);
const options = { directory, name: 'full', fsync: 'always', log: silentLog } as const;
const ballast = join(directory, 'ballast');

async function put(name: string, bytes: number): Promise<string> {
  try {
    await journal.put(name, new Uint8Array(bytes));
    return 'kept';
  } catch (error) {
    return asNsmError(error).code;
  }
}

function fill(): void {
  for (const bytes of [1 << 16, 1 << 12, 1]) {
    try {
      for (;;) writeFileSync(ballast, new Uint8Array(bytes), { flag: 'a' });
    } catch {
      // Full, to within this much.
    }
  }
}

const journal = await openJournal({ ...options, clock: systemClock });
const met = { before: await put('before', 1_000), full: '', after: '' };
fill();
met.full = await put('full', 50_000);
rmSync(ballast);
met.after = await put('after', 50_000);
await journal.close();
const again = await openJournal({ ...options, clock: systemClock });
const keys = [...(await again.load()).keys()];
await again.close();
process.stdout.write(JSON.stringify({ ...met, keys, damage: again.damage.length }));
