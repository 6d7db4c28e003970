// Names of actors as nact takes them. NSM names hold `@`, `/`, `:` and more, which nact refuses.
// Invariants: total (any non-empty string), injective, and reversible; `!` is never produced, so it is free for
// the nodes that the runtime itself puts into the tree.

import { NsmError } from '../../protocols/errors.ts';

/** Long enough for any NSM name with its domain; a longer one is somebody's mistake. */
export const actorNameLengthMax = 1024;

const needsEncoding = /[^A-Za-z0-9_.-]/;
const unsafe = /[^A-Za-z0-9_.-]/g;
const encoded = /\$([0-9a-f]{4})/g;

/** Throws INVALID_ARGUMENT for a name that no actor can have. */
export function encodeName(name: string): string {
  if (name.length === 0 || name.length > actorNameLengthMax) {
    throw new NsmError('INVALID_ARGUMENT', 'an actor cannot have this name', {
      rule: 'actor name',
      expected: `1 to ${actorNameLengthMax} characters`,
      found: `${name.length} characters`,
    });
  }
  return needsEncoding.test(name) ? name.replace(unsafe, escapeUnit) : name;
}

export function decodeName(node: string): string {
  return node.replace(encoded, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function escapeUnit(unit: string): string {
  return `$${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
