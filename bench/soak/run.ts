// `npm run soak`: thousands of random operations against real kernel wires, then quiet, then what is left over and what
// has grown.

import { readFile, writeFile } from 'node:fs/promises';
import { parseDurationMs } from '../../protocols/nsm/config-values.ts';
import { whyNoNamespaces } from '../../test/sandbox/namespaces.ts';
import { integerOf, runCommand, UsageError } from '../command-line.ts';
import { withSection } from '../document-section.ts';
import { machineOf } from '../report.ts';
import { troubleDefault } from './operations.ts';
import { findingsOf, soakReport } from './report.ts';
import { runSoak } from './run-soak.ts';
import { svidFindingsOf, svidSoakReport } from './svid/report.ts';
import { runSvidSoak } from './svid/run-svid-soak.ts';

const page = 'docs/benchmarks.md';
const sections = { operations: 'Soak', svid: 'Soak of identities' } as const;
const operationsDefault = 10_000;
const lifetimeMs = 30_000;
const quietMs = 33_000;
const minutesDefault = 10;
/** As of `vwire identity`. */
const svidLifetimeMsMin = 2_000;

const usage = `npm run soak -- [options]: random operations against real wires, then quiet, then what is left and what has grown
  --operations n   how many; default ${operationsDefault}
  --seed s         which ones; default 1
  --trouble n      of 1,000 operations, how many kill a process or damage a wire; default ${troubleDefault}
  --svid time      nothing is broken by hand; SVIDs live that long (20s) under packets and Requests
  --minutes n      with --svid, for how long; default ${minutesDefault}
  --bus kind       with --svid, between the parts: grpc (default) or nats
  --json           ends with one line for programs
  --write          renews the section "${sections.operations}" or "${sections.svid}" of ${page}
Exit code: 0; 1 where anything is left, lost, or grown beyond its bound; 2 for a wrong command line.`;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

interface Report {
  readonly text: string;
  readonly findings: readonly string[];
  readonly result: object;
}

await runCommand({
  usage,
  options: {
    operations: { type: 'string' },
    seed: { type: 'string' },
    trouble: { type: 'string' },
    svid: { type: 'string' },
    minutes: { type: 'string' },
    bus: { type: 'string' },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
  async run({ json, write, ...given }) {
    const soak = given.svid === undefined ? ofOperations(given) : ofIdentities(given.svid, given);
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
    const { text, findings, result } = await soak(interrupted.signal);
    process.stdout.write(`\n${machine}\n\n${text}\n`);
    if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
    if (write) {
      const date = new Date().toISOString().slice(0, 10);
      const section = given.svid === undefined ? sections.operations : sections.svid;
      const svid = given.svid === undefined ? '' : `--svid ${given.svid} `;
      const body = `Written by \`npm run soak -- ${svid}--write\` on ${date}.\n\nMachine: ${machine}.\n\n${text}`;
      await writeFile(page, withSection(await readFile(page, 'utf8'), section, body));
      say(`${page} written`);
    }
    return findings.length === 0 ? 0 : 1;
  },
});

type Given = Readonly<Partial<Record<string, string>>>;
type Run = (signal: AbortSignal) => Promise<Report>;

function ofOperations(given: Given): Run {
  const operations = integerOf('operations', given['operations'], { fallback: operationsDefault });
  const seed = integerOf('seed', given['seed'], { fallback: 1 });
  const trouble = integerOf('trouble', given['trouble'], {
    fallback: troubleDefault,
    min: 0,
    max: 1_000,
  });
  return async (signal) => {
    const options = { operations, seed, trouble, lifetimeMs, quietMs, progress: say, signal };
    const result = await runSoak(options);
    return { result, text: soakReport(result), findings: findingsOf(result) };
  };
}

function ofIdentities(svid: string, given: Given): Run {
  const svidLifetimeMs = lifetimeOf(svid);
  const minutes = integerOf('minutes', given['minutes'], { fallback: minutesDefault });
  const bus = given['bus'] ?? 'grpc';
  if (bus !== 'grpc' && bus !== 'nats') {
    throw new UsageError(`--bus: expected grpc or nats, found ${bus}`);
  }
  return async (signal) => {
    const durationMs = minutes * 60_000;
    const result = await runSvidSoak({ svidLifetimeMs, durationMs, bus, progress: say, signal });
    return { result, text: svidSoakReport(result), findings: svidFindingsOf(result) };
  };
}

function lifetimeOf(text: string): number {
  try {
    const lifetime = parseDurationMs(text, '--svid');
    if (lifetime >= svidLifetimeMsMin) return lifetime;
  } catch {
    // Said below.
  }
  const least = `${svidLifetimeMsMin / 1_000}s`;
  throw new UsageError(`--svid: expected a time of at least ${least}, found ${text}`);
}
