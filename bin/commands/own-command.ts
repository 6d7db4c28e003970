// How this very program is called again, for commands that are printed to be copied.

import { basename } from 'node:path';

export interface Invocation {
  readonly script: string;
  readonly executable: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

const thisProcess = (): Invocation => ({
  script: process.argv[1] ?? '',
  executable: process.execPath,
  environment: process.env,
});

/** `vwire`, `npx vwire`, or the file by its path, whichever it was. */
export function ownCommand(
  { script, executable, environment }: Invocation = thisProcess(),
): string {
  if (environment['npm_command'] === 'exec') return 'npx vwire';
  if (basename(script) === 'vwire') return 'vwire';
  const loader = script.endsWith('.ts') ? ['--import', 'tsx'] : [];
  return [executable, ...loader, script].map(shellQuoted).join(' ');
}

export function shellQuoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
