// The excluded prefixes of a node, from the file that a collector keeps up to date.

import { excludedPrefixesFrom } from '../../protocols/nsm/excluded-prefixes-document.ts';
import type { Log } from '../../protocols/ports/log.ts';
import { type FollowedFile, followFile } from './followed-file.ts';

export const followExcludedPrefixes = (path: string, log: Log): FollowedFile<readonly string[]> =>
  followFile({ path, kind: 'excluded prefixes', absent: [], read: excludedPrefixesFrom, log });
