// The victim of crash.test.ts: changes eight keys for ever, printing each change once it is acknowledged.
// Small bounds make it rewrite its file often, so that the kill also falls into a rewrite.

import { writeSync } from 'node:fs';
import { silentLog } from '../../../protocols/ports/log.ts';
import { type FsyncPolicy, openJournal } from '../../../transports/journal/journal.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';

const [directory = '', fsync = 'always'] = process.argv.slice(2);
const journal = await openJournal({
  directory,
  name: 'crash',
  fsync: fsync as FsyncPolicy,
  log: silentLog,
  clock: systemClock,
  garbageBytesMin: 20_000,
});
const known = await journal.load();
const rounds = [...known.values()].map((value) =>
  Number(Buffer.from(value).toString('latin1', 0, 10)),
);
let round = Math.max(0, ...rounds);

async function writeForEver(key: string): Promise<never> {
  for (;;) {
    round += 1;
    const mine = round;
    const value = Buffer.from(`${String(mine).padStart(10, '0')}${'x'.repeat(mine % 1_000)}`);
    await journal.put(key, value);
    writeSync(1, `${key} ${mine}\n`);
  }
}

await Promise.all(Array.from({ length: 8 }, (_, index) => writeForEver(`key-${index}`)));
