// The overview that `vwire --help` prints.

import { catalog, type CatalogRow, exitCodeTexts } from './catalog.ts';

export const wantsHelp = (args: readonly string[]): boolean => {
  const end = args.indexOf('--');
  const own = end < 0 ? args : args.slice(0, end);
  return own.includes('--help') || own.includes('-h');
};

function section(title: string, rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return `${title}\n${rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n')}\n`;
}

const rowsOf = (kind: CatalogRow['kind']) =>
  catalog.filter((row) => row.kind === kind).map((row) => [row.name, row.summary] as const);

export function generalHelp(): string {
  return [
    'Usage: vwire <role|command> [arguments]\n\nNetwork Service Mesh: virtual wires between workloads.\n',
    section('Commands (do one thing and end):', rowsOf('command')),
    section(
      'Roles (run until SIGTERM or Ctrl-C; configured by NSM_* and VWIRE_* variables):',
      rowsOf('role'),
    ),
    section('Start here:', [
      ['vwire demo', 'see two wires carry pings, then everything taken down again'],
      ['vwire up', 'a mesh of your own on this machine'],
      ['vwire <name> --help', 'options, variables and examples of one role or command'],
    ]),
    section(
      'Exit codes:',
      exitCodeTexts.map(([code, text]) => [String(code), text]),
    ),
  ].join('\n');
}
