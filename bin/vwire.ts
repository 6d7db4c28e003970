#!/usr/bin/env node
// The one executable: finds the role or command in the catalog, loads its module and nothing else, and turns what it
// returns or throws into the exit code. Invariant: `--help` loads no role, so that it stays fast.

import { extname } from 'node:path';

import { catalogNames, exitCodes, findRow } from './commands/catalog.ts';
import { generalHelp, wantsHelp } from './commands/help.ts';
import { nearestName } from './commands/nearest-name.ts';
import { version } from './version.ts';

/** What bin/roles/<name>.ts and bin/commands/<name>.ts export. */
interface CommandModule {
  run(args: readonly string[]): Promise<number>;
}

const leaveAfterMs = 2_000;

const folders = { role: 'roles', command: 'commands' } as const;

async function runNamed(name: string, args: readonly string[]): Promise<number> {
  const row = findRow(name);
  if (row === undefined) {
    const near = nearestName(name, catalogNames);
    const hint = near === undefined ? 'Try: vwire --help' : `Did you mean: vwire ${near}`;
    process.stderr.write(`vwire: there is no role or command "${name}". ${hint}\n`);
    return exitCodes.usage;
  }
  if (wantsHelp(args)) {
    const { commandHelp } = await import('./commands/command-help.ts');
    process.stdout.write(await commandHelp(row.name));
    return exitCodes.ok;
  }
  const path = `./${folders[row.kind]}/${row.name}${extname(import.meta.url)}`;
  const module = (await import(path)) as CommandModule;
  const code = await module.run(args);
  if (row.kind === 'role') leaveSoon(code);
  return code;
}

/** A handle that a library forgot must not keep a drained role alive. */
function leaveSoon(code: number): void {
  setTimeout(() => process.exit(code), leaveAfterMs).unref();
}

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === '--version' || name === '-V') {
    process.stdout.write(`${version()}\n`);
    return exitCodes.ok;
  }
  if (name === undefined || name === '--help' || name === '-h') {
    process.stdout.write(generalHelp());
    return name === undefined ? exitCodes.usage : exitCodes.ok;
  }
  return name === 'help' ? runNamed(args[0] ?? 'help', ['--help']) : runNamed(name, args);
}

/** A wrong command line or configuration and an operating error are explained; anything else keeps its stack. */
async function explain(error: unknown): Promise<number> {
  const { describeError, NsmError } = await import('../protocols/errors.ts');
  if (error instanceof Error && (error.name === 'UsageError' || error.name === 'ConfigError')) {
    process.stderr.write(`vwire: ${error.message}\n`);
    return exitCodes.usage;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`vwire: ${error instanceof NsmError ? describeError(error) : text}\n`);
  return exitCodes.failed;
}

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCodes.ok);
  throw error;
});

process.exitCode = await main(process.argv.slice(2)).catch(explain);
