// The excluded prefixes of a node as its collector writes them: `prefixes: [10.0.0.0/8, ...]`. Pure.
// Stricter than the reference, on purpose: a text that is no prefix, or a key that does not belong here, refuses the
// whole document with its line, since an exclusion that is silently lost gives out addresses that are in use.

import { formatPrefix, parsePrefix } from '../ipam/address.ts';
import { limits } from '../limits.ts';
import {
  checkMapping,
  childOf,
  itemsOf,
  type PositionOf,
  refuseNode,
  rootOf,
  textOf,
} from './document-reader.ts';

const shape = 'prefixes: [10.0.0.0/8, fd00::/8]';

/** In canonical form and order of the document, without repetition. Throws INVALID_ARGUMENT. */
export function excludedPrefixesFrom(document: unknown, positionOf: PositionOf): readonly string[] {
  const root = rootOf('document of excluded prefixes', document, positionOf);
  checkMapping(root, { known: ['prefixes'], shape });
  const items = itemsOf(childOf(root, 'prefixes'), { max: limits.listEntries, shape });
  const prefixes = items.map((item) => {
    const prefix = parsePrefix(textOf(item));
    if (prefix === undefined) throw refuseNode(item, 'a prefix in CIDR form, such as 10.0.0.0/8');
    return formatPrefix(prefix);
  });
  return [...new Set(prefixes)];
}
