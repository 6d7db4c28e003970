// What a VPP without one of its plugins has none of.

import { asNsmError } from '../../protocols/errors.ts';

/** To be put behind a dump. */
export function noneWithoutPlugin(error: unknown): readonly never[] {
  if (asNsmError(error).code === 'UNIMPLEMENTED') return [];
  throw error;
}
