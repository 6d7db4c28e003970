// The command line of what measures and tries: bench, chaos, soak and sim. `--help` tells of it on standard output; what
// it does not know, or cannot read, is one line on standard error and exit code 2, and nothing has begun.

import { parseArgs, type ParseArgsConfig } from 'node:util';

type Options = NonNullable<ParseArgsConfig['options']>;
type Values<Known extends Options> = ReturnType<typeof parseArgs<{ options: Known }>>['values'];

interface Command<Known extends Options> {
  readonly usage: string;
  readonly options: Known;
  /** Resolves to the exit code. Throws UsageError for values that it cannot use. */
  readonly run: (values: Values<Known>) => Promise<number>;
}

export class UsageError extends Error {}

/** An integer between the two, or the fallback where the option is not given. */
export function integerOf(
  option: string,
  value: string | undefined,
  {
    fallback,
    min = 1,
    max = Number.MAX_SAFE_INTEGER,
  }: { fallback: number; min?: number; max?: number },
): number {
  const found = Number(value ?? fallback);
  if (value !== '' && Number.isInteger(found) && found >= min && found <= max) return found;
  const expected =
    max === Number.MAX_SAFE_INTEGER
      ? `an integer of at least ${min}`
      : `an integer from ${min} to ${max}`;
  throw new UsageError(`--${option}: expected ${expected}, found ${value}`);
}

/** Runs the command and sets the exit code of the process. */
export async function runCommand<Known extends Options>({
  usage,
  options,
  run,
}: Command<Known>): Promise<void> {
  try {
    const { help, ...values } = parse(options);
    if (help === true) process.stdout.write(`${usage}\n`);
    else process.exitCode = await run(values as Values<Known>);
  } catch (error) {
    const isUsage = error instanceof UsageError;
    const hint = isUsage ? '; --help tells what there is' : '';
    process.stderr.write(`${messageOf(error)}${hint}\n`);
    process.exitCode = isUsage ? 2 : 1;
  }
}

function parse(options: Options) {
  try {
    return parseArgs({ options: { ...options, help: { type: 'boolean', short: 'h' } } }).values;
  } catch (error) {
    // Behind the first sentence stands advice about positional arguments, of which there are none.
    throw new UsageError(messageOf(error).split('. ')[0]);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
