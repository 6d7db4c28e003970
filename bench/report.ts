// The figures as a table, for the terminal and for docs/benchmarks.md. Nothing of the machine but what decides how
// fast it is: no names, no paths.

import { execFileSync } from 'node:child_process';
import { cpus, loadavg, release, totalmem } from 'node:os';
import type { Figure } from './figure.ts';

export interface SuiteResult {
  readonly suite: string;
  readonly figures: readonly Figure[];
  readonly skipped?: string;
  /** Why a target was missed: the top costs of a profiled run. */
  readonly profile: readonly string[];
}

const columns = [
  'suite',
  'figure',
  'vwire',
  'limit of the same run',
  'ratio',
  'target',
  '',
] as const;

export function tableOf(results: readonly SuiteResult[]): string {
  const rows = results.flatMap(({ figures }) => figures.map(cellsOf));
  const all: readonly (readonly string[])[] = [columns, ...rows];
  const widths = columns.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [line(columns), rule, ...rows.map(line)].join('\n');
}

function cellsOf(figure: Figure): readonly string[] {
  const { suite, name, value, unit, limitName, limitValue, ratio, target, met } = figure;
  const limit = limitValue === undefined ? '' : `${number(limitValue)} ${unit}, ${limitName ?? ''}`;
  return [
    suite,
    name,
    `${number(value)} ${unit}`,
    limit,
    ratio === undefined ? '' : ratio.toFixed(2),
    target,
    target === '' ? '' : met ? 'met' : 'MISSED',
  ];
}

function number(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en', { maximumFractionDigits: digits });
}

/** What stands under the table: notes, what was skipped, and why targets were missed. */
export function remarksOf(results: readonly SuiteResult[]): readonly string[] {
  return results.flatMap(({ suite, figures, skipped, profile }) => [
    ...figures.flatMap(({ name, note }) =>
      note === undefined ? [] : [`${suite}, ${name}: ${note}`],
    ),
    ...(skipped === undefined ? [] : [`${suite} was skipped: ${skipped}`]),
    ...profile.map((line) => `${suite} missed a target; profiled again, ${line}`),
  ]);
}

export function machineOf(): string {
  const processors = cpus();
  const load = loadavg()[0] ?? 0;
  return [
    `${processors.length} x ${processors[0]?.model ?? 'unknown processor'}`,
    `${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    `Linux ${release()}`,
    `Node ${process.version}`,
    natsVersion(),
    `load at the start ${load.toFixed(1)}`,
  ].join(', ');
}

function natsVersion(): string {
  try {
    return execFileSync(process.env['VWIRE_NATS_SERVER'] ?? 'nats-server', ['--version'], {
      encoding: 'utf8',
    }).trim();
  } catch {
    return 'no nats-server';
  }
}

export function documentOf(machine: string, results: readonly SuiteResult[]): string {
  const date = new Date().toISOString().slice(0, 10);
  const remarks = remarksOf(results).map((remark) => `- ${remark}`);
  return `# Benchmarks

Written by \`npm run bench -- --write\` on ${date}. \`npm run bench\` prints the same table without writing it,
\`npm run bench -- --suite <name>\` one suite of it; \`vpp\` needs a VPP that \`VWIRE_VPP\` names. Each suite runs in a process of its
own, compiled, one after the other. A limit is measured in the same run as the figure beside it; the ratio is figure divided by limit. A target
that is a figure of its own was set where bare NATS did some 7,500 round trips a second for one caller and bare grpc-js 8,800
calls; the limits of this run say how fast this machine was.

Machine: ${machine}.

${tableOf(results)}
${remarks.length === 0 ? '' : `\n${remarks.join('\n')}\n`}`;
}
