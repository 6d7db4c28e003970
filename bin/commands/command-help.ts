// Help of one role or command: usage, options and examples from the catalog, and for a role its variables.

import { catalog } from './catalog.ts';
import { helpText } from './arguments.ts';

export async function commandHelp(name: string): Promise<string> {
  const row = catalog.find((candidate) => candidate.name === name);
  if (row?.kind !== 'role') return helpText(name);
  const { variablesHelp } = await import('../config/reference.ts');
  return `${helpText(name)}\n${variablesHelp(name)}`;
}
