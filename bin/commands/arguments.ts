// Reads a command's arguments by its row in the catalog, so that what help shows is what is accepted.
// Errors: UsageError, which ends the program with exit code 64.

import { Argument, Command, CommanderError, Option } from 'commander';
import type { CatalogRow } from './catalog.ts';
import { catalog, exitCodeTexts } from './catalog.ts';

/** A wrong command line; the message is complete and needs no stack. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export interface ParsedArguments {
  readonly operands: readonly string[];
  /** By camel-cased long name; a flag without a value is `true`. */
  readonly options: Readonly<Record<string, string | true | undefined>>;
}

const findRow = (name: string): CatalogRow => {
  const row = catalog.find((candidate) => candidate.name === name);
  if (row === undefined) throw new Error(`no catalog row for ${name}`);
  return row;
};

function helpAfter(row: CatalogRow): string {
  const width = Math.max(...row.examples.map(([line]) => line.length));
  const examples = row.examples.map(([line, text]) => `  ${line.padEnd(width)}  ${text}`);
  const codes = exitCodeTexts.map(([code, text]) => `  ${String(code).padStart(2)}  ${text}`);
  return `\nExamples:\n${examples.join('\n')}\n\nExit codes:\n${codes.join('\n')}`;
}

/** The row as a commander command that never ends the process by itself. */
export function commandFor(row: CatalogRow): Command {
  const command = new Command(row.name)
    .description(row.summary)
    .exitOverride()
    .configureOutput({ writeErr: () => {}, outputError: () => {} })
    .helpOption('-h, --help', 'show this help')
    .addHelpText('after', helpAfter(row));
  for (const [index, text] of row.operands.split(' ').filter(Boolean).entries()) {
    const argument = new Argument(text);
    if (index === 0 && row.operandChoices !== undefined) argument.choices([...row.operandChoices]);
    command.addArgument(argument);
  }
  for (const { flags, text, choices, repeats } of row.options) {
    const option = new Option(flags, text);
    if (choices !== undefined) option.choices([...choices]);
    if (repeats === true) option.argParser(joined);
    command.addOption(option);
  }
  return command;
}

const joined = (value: string, before?: string): string =>
  before === undefined ? value : `${before},${value}`;

/** Help of one role or command, as `vwire <name> --help` prints it. */
export const helpText = (name: string): string => {
  let text = '';
  const command = commandFor(findRow(name));
  command.configureOutput({ writeOut: (part) => (text += part) }).outputHelp();
  return text.replace(`Usage: ${name}`, `Usage: vwire ${name}`);
};

/** Operands and options of `vwire <name> <args>`. */
export function parseArguments(name: string, args: readonly string[]): ParsedArguments {
  // Who asked for help has it by now (`wantsHelp`); what is left, such as `-hx`, is a mistake and prints nothing.
  const command = commandFor(findRow(name)).helpOption(false);
  try {
    command.parse([...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const reason = error.message.replace(/^error: /, '');
    throw new UsageError(`${reason}\nTry: vwire ${name} --help`);
  }
  return { operands: command.args, options: command.opts() };
}
