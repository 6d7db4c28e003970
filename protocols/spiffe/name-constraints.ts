// Name constraints of a signing certificate (RFC 5280 4.2.1.10): which trust domains it may sign for.
// URI constraints name a host, which for a SPIFFE ID is the trust domain; DNS constraints are kept as well, since
// ordinary CAs above a SPIFFE server carry them. A constraint of another kind refuses names of that kind.

import { NsmError } from '../errors.ts';
import { DerReader, derError, readAscii } from './der-reader.ts';

interface Subtree {
  /** Context tag of the GeneralName. */
  readonly tag: number;
  readonly base: string;
}

export interface NameConstraints {
  readonly permitted: readonly Subtree[];
  readonly excluded: readonly Subtree[];
}

export interface ConstrainedNames {
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly otherNameTags: readonly number[];
}

const dnsTag = 0x82;
const uriTag = 0x86;
const subtreesMax = 256;

/** Errors: INVALID_ARGUMENT. */
export function readNameConstraints(value: Uint8Array): NameConstraints {
  const outer = new DerReader(value);
  const fields = outer.enter('the name constraints');
  outer.end('the name constraints');
  const permitted = fields.readOptional('the permitted names', 0xa0);
  const excluded = fields.readOptional('the excluded names', 0xa1);
  fields.end('the name constraints');
  return {
    permitted: permitted === undefined ? [] : readSubtrees(permitted.content),
    excluded: excluded === undefined ? [] : readSubtrees(excluded.content),
  };
}

function readSubtrees(content: Uint8Array): Subtree[] {
  const list = new DerReader(content);
  const subtrees: Subtree[] = [];
  while (!list.isAtEnd) {
    if (subtrees.length === subtreesMax) {
      throw derError('the name constraints', `at most ${subtreesMax}`, 'more');
    }
    const subtree = list.enter('a name constraint');
    const base = subtree.read('a name constraint');
    // RFC 5280: minimum is 0, which DER leaves out, and maximum is absent.
    subtree.end('a name constraint');
    const isText = base.tag === dnsTag || base.tag === uriTag;
    subtrees.push({
      tag: base.tag,
      base: isText ? readAscii(base.content, 'a name constraint').toLowerCase() : '',
    });
  }
  return subtrees;
}

/** Errors: UNAUTHENTICATED where a name lies outside of what the signing certificate may sign. */
export function checkNameConstraints(constraints: NameConstraints, names: ConstrainedNames): void {
  for (const uri of names.uris) check(constraints, uriTag, hostOf(uri));
  for (const name of names.dnsNames) check(constraints, dnsTag, name.toLowerCase());
  for (const tag of names.otherNameTags) check(constraints, tag, '');
}

const hostOf = (uri: string): string => /^[^:]+:\/\/([^/]*)/.exec(uri)?.[1]?.toLowerCase() ?? '';

function check(constraints: NameConstraints, tag: number, name: string): void {
  const excluded = constraints.excluded.filter((subtree) => subtree.tag === tag);
  const permitted = constraints.permitted.filter((subtree) => subtree.tag === tag);
  const isExcluded = excluded.some((subtree) => isWithin(subtree, name));
  const isPermitted =
    permitted.length === 0 || permitted.some((subtree) => isWithin(subtree, name));
  // Names that are not texts cannot be compared here, so any constraint on their kind refuses them.
  const isComparable = tag === dnsTag || tag === uriTag;
  const isConstrained = excluded.length + permitted.length > 0;
  if (isComparable ? !isExcluded && isPermitted : !isConstrained) return;
  throw new NsmError('UNAUTHENTICATED', 'a CA certificate may not sign this name', {
    rule: 'name-constraints',
    expected: permitted.map(({ base }) => base).join(', ') || 'a name that is not excluded',
    found: name || `a name of kind ${tag & 0x1f}`,
  });
}

/** A URI constraint without a leading dot is one host; a DNS constraint is always a whole subtree. */
function isWithin({ tag, base }: Subtree, name: string): boolean {
  if (base === '') return true;
  if (base.startsWith('.')) return name.endsWith(base);
  return name === base || (tag === dnsTag && name.endsWith(`.${base}`));
}
