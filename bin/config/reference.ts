// The reference of all variables, generated from their definitions: for `vwire <role> --help` and for
// docs/configuration.md, whose freshness test/drift.test.ts checks.

import { commonVariables } from './common.ts';
import { roleVariables } from './load.ts';
import type { Variable } from './variables.ts';

const commonNames = new Set(Object.values(commonVariables).map(({ name }) => name));

const ownVariables = (role: string): readonly Variable<unknown>[] =>
  Object.values(roleVariables[role] ?? {}).filter(({ name }) => !commonNames.has(name));

const defaultText = ({ byDefault }: Variable<unknown>): string => {
  if (byDefault === undefined) return 'unset';
  return byDefault === '' ? 'empty' : byDefault;
};

function plainLines(variables: readonly Variable<unknown>[]): string {
  return variables
    .map(
      (row) => `  ${row.name} (${row.kind.label}, default ${defaultText(row)})\n      ${row.text}`,
    )
    .join('\n');
}

/** The variables of one role as plain text; a role without its own has the common ones. */
export function variablesHelp(role: string): string {
  const own = ownVariables(role);
  const common = plainLines(Object.values(commonVariables));
  return own.length === 0
    ? `Variables:\n${common}\n`
    : `Variables:\n${plainLines(own)}\n\nVariables of all roles:\n${common}\n`;
}

const cell = (value: string): string => value.replaceAll('|', '\\|');

function markdownTable(variables: readonly Variable<unknown>[]): string {
  const rows = variables.map((row) => {
    const value = defaultText(row);
    const shown = row.byDefault ? `\`${cell(value)}\`` : value;
    return `| \`${row.name}\` | ${cell(row.kind.label)} | ${shown} | ${cell(row.text)} |`;
  });
  return ['| variable | kind | default | meaning |', '|---|---|---|---|', ...rows].join('\n');
}

/** The text of docs/configuration.md. */
export function configurationPage(): string {
  const roles = Object.keys(roleVariables).map(
    (role) => `## ${role}\n\n${markdownTable(ownVariables(role))}\n`,
  );
  return `# Configuration

Generated from \`bin/config/\` by \`npm run docs\`; edit it there.

Roles are configured by variables. \`NSM_*\` have the names and defaults of the reference implementation, so that a
manifest written for its counterpart works unchanged; \`VWIRE_*\` are our own. Lists are separated by commas, maps are
written \`key:value,key:value\`, durations as in Go (\`750ms\`, \`1h30m\`). A default applies where a variable is unset;
set but empty is a value: an empty text, list, map or URL, and an error for durations, booleans and numbers. All
errors are reported together, before anything is opened, with exit code 64. A name that a role does not know is
warned of.

## All roles

${markdownTable(Object.values(commonVariables))}

${roles.join('\n')}`;
}
