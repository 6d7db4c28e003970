// `npm run soak`: thousands of random operations against real kernel wires, then quiet, then what is left over and what
// has grown. `--operations n` and `--seed s` choose them, `--json` ends with one line for programs, `--write` renews
// docs/benchmarks.md. The exit code is 1 where anything is left, lost, or grown beyond its bound.

import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { whyNoNamespaces } from '../../test/sandbox/namespaces.ts';
import { withSection } from '../document-section.ts';
import { machineOf } from '../report.ts';
import { findingsOf, soakReport } from './report.ts';
import { runSoak } from './run-soak.ts';

const page = 'docs/benchmarks.md';
const section = 'Soak';
const operationsDefault = 10_000;
const lifetimeMs = 30_000;
const quietMs = 33_000;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

class UsageError extends Error {}

function numberOf(name: string, value: string | undefined, fallback: number): number {
  const found = Number(value ?? fallback);
  if (Number.isInteger(found) && found >= 1) return found;
  throw new UsageError(`--${name}: expected a positive integer, found ${value}`);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      operations: { type: 'string' },
      seed: { type: 'string' },
      json: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
    },
  });
  const operations = numberOf('operations', values.operations, operationsDefault);
  const seed = numberOf('seed', values.seed, 1);
  const reason = whyNoNamespaces();
  if (reason !== undefined) {
    say(`a soak needs network namespaces: ${reason}`);
    return 1;
  }
  const machine = machineOf();
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      say(`${signal}: ending everything`);
      interrupted.abort(new Error(signal));
    });
  }
  const { signal } = interrupted;
  const result = await runSoak({ operations, seed, lifetimeMs, quietMs, progress: say, signal });
  const report = soakReport(result);
  process.stdout.write(`\n${machine}\n\n${report}\n`);
  if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  if (values.write) {
    const date = new Date().toISOString().slice(0, 10);
    const text = `Written by \`npm run soak -- --write\` on ${date}.\n\nMachine: ${machine}.\n\n${report}`;
    await writeFile(page, withSection(await readFile(page, 'utf8'), section, text));
    say(`${page} written`);
  }
  return findingsOf(result).length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = error instanceof UsageError ? 64 : 1;
}
