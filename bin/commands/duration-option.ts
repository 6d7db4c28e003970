// An option that holds a span of time, as the configuration writes it: `30s`, `1m30s`.

import { NsmError } from '../../protocols/errors.ts';
import { parseDurationMs } from '../../protocols/nsm/config-values.ts';
import { type ParsedArguments, UsageError } from './arguments.ts';

/** Milliseconds. Errors: UsageError. */
export function durationOption(
  { options }: ParsedArguments,
  name: string,
  byDefault: string,
): number {
  const given = options[name];
  const text = typeof given === 'string' ? given : byDefault;
  try {
    const durationMs = parseDurationMs(text, `--${name}`);
    if (durationMs >= 0) return durationMs;
  } catch (error) {
    if (!(error instanceof NsmError)) throw error;
  }
  throw new UsageError(`--${name} expects a duration such as 30s or 1m30s, found: ${text}`);
}
