// Protects whoever writes NSM_AWARENESS_GROUPS: a request is found in its group as it is written, and a mistake is named.

import { describe, expect, it } from 'vitest';
import {
  groupOf,
  parseAwarenessGroups,
  unrequested,
} from '../../../protocols/nsm/awareness-groups.ts';
import { parseServiceUrl, parseServiceUrls } from '../../../protocols/nsm/service-url.ts';

const name = 'NSM_AWARENESS_GROUPS';
const groups = parseAwarenessGroups(
  '[kernel://a/nsm-1,kernel://b@domain?x=1&y=2],[kernel://c]',
  name,
);

describe('awareness groups', () => {
  it.each([
    ['kernel://a/nsm-1', 0],
    ['KERNEL://b@domain?y=2&x=1', 0],
    ['kernel://c', 1],
    ['kernel://a', undefined],
    ['kernel://a/nsm-2', undefined],
    ['kernel://b?x=1&y=2', undefined],
    ['kernel://b@domain?x=1', undefined],
    ['memif://c', undefined],
  ])('%s is in group %s', (url, group) => {
    expect(groupOf(groups, parseServiceUrl(url))).toBe(group);
  });

  it('say which of their requests nobody makes', () => {
    const requests = parseServiceUrls('kernel://a/nsm-1,kernel://c');
    expect(unrequested(groups, requests)).toEqual(['kernel://b@domain?x=1&y=2']);
    expect(unrequested(parseAwarenessGroups('', name), requests)).toEqual([]);
  });

  it.each([
    ['[kernel://a,kernel://b],[kernel://a]', 'each URL once', 'kernel://a'],
    ['[kernel://a', 'groups such as [a,b],c', '"[kernel://a"'],
    ['[kernel://a,]', 'no empty entry in a group', '"[kernel://a,]"'],
    ['[a]', 'a mechanism and "://", for example kernel://', 'a'],
  ])('%s is refused', (text, expected, found) => {
    expect(() => parseAwarenessGroups(text, name)).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({ expected, found }),
      }),
    );
  });
});
