// The text of a file that a command was given; `-` is standard input.

import { readFile } from 'node:fs/promises';
import { text as textOf } from 'node:stream/consumers';
import { NsmError } from '../../protocols/errors.ts';

export const standardInput = '-';

/** Errors: NOT_FOUND. */
export async function readOperandFile(file: string): Promise<string> {
  if (file === standardInput) return textOf(process.stdin);
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new NsmError('NOT_FOUND', `cannot read ${file}`, {
      expected: 'a readable YAML file, or - for standard input',
      found: (error as NodeJS.ErrnoException).code ?? String(error),
    });
  }
}
