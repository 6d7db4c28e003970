// The format that `-o` asks for; the parser has refused every other word.

import type { OutputFormat } from '../output/print.ts';
import type { ParsedArguments } from './arguments.ts';

export function outputFormat({ options }: ParsedArguments): OutputFormat {
  const { output } = options;
  return output === 'json' || output === 'yaml' ? output : 'table';
}
