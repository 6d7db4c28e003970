// `npm run soak`: thousands of random operations against real kernel wires, then quiet, then what is left over and what
// has grown.

import { readFile, writeFile } from 'node:fs/promises';
import { whyNoNamespaces } from '../../test/sandbox/namespaces.ts';
import { integerOf, runCommand } from '../command-line.ts';
import { withSection } from '../document-section.ts';
import { machineOf } from '../report.ts';
import { troubleDefault } from './operations.ts';
import { findingsOf, soakReport } from './report.ts';
import { runSoak } from './run-soak.ts';

const page = 'docs/benchmarks.md';
const section = 'Soak';
const operationsDefault = 10_000;
const lifetimeMs = 30_000;
const quietMs = 33_000;

const usage = `npm run soak -- [options]: random operations against real wires, then quiet, then what is left and what has grown
  --operations n   how many; default ${operationsDefault}
  --seed s         which ones; default 1
  --trouble n      of 1,000 operations, how many kill a process or damage a wire; default ${troubleDefault}
  --json           ends with one line for programs
  --write          renews the section "${section}" of ${page}
Exit code: 0; 1 where anything is left, lost, or grown beyond its bound; 2 for a wrong command line.`;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

await runCommand({
  usage,
  options: {
    operations: { type: 'string' },
    seed: { type: 'string' },
    trouble: { type: 'string' },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
  async run({ json, write, ...given }) {
    const operations = integerOf('operations', given.operations, { fallback: operationsDefault });
    const seed = integerOf('seed', given.seed, { fallback: 1 });
    const trouble = integerOf('trouble', given.trouble, {
      fallback: troubleDefault,
      min: 0,
      max: 1_000,
    });
    const reason = whyNoNamespaces();
    if (reason !== undefined) throw new Error(`a soak needs network namespaces: ${reason}`);
    const machine = machineOf();
    const interrupted = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        say(`${signal}: ending everything`);
        interrupted.abort(new Error(signal));
      });
    }
    const { signal } = interrupted;
    const result = await runSoak({
      operations,
      seed,
      trouble,
      lifetimeMs,
      quietMs,
      progress: say,
      signal,
    });
    const report = soakReport(result);
    process.stdout.write(`\n${machine}\n\n${report}\n`);
    if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
    if (write) {
      const date = new Date().toISOString().slice(0, 10);
      const text = `Written by \`npm run soak -- --write\` on ${date}.\n\nMachine: ${machine}.\n\n${report}`;
      await writeFile(page, withSection(await readFile(page, 'utf8'), section, text));
      say(`${page} written`);
    }
    return findingsOf(result).length === 0 ? 0 : 1;
  },
});
