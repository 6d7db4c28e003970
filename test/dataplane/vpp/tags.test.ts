// Protects the tags by which a forwarder finds its own interfaces in VPP again: what was written is read back, nobody
// else's is taken for one's own, and nothing longer than VPP keeps is written.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  formatEndTag,
  parseEndTag,
  parseUplinkTag,
  sides,
  ownInstances,
  uplinkTag,
} from '../../../dataplane/vpp/tags.ts';

const owner = { installation: 'ours', forwarder: 'forwarder-node-1' };
const wireIds = fc.oneof(fc.uuid(), fc.stringMatching(/^[a-zA-Z0-9:_.-]{1,30}$/), fc.constant('ä'));
const tags = fc.record({
  version: fc.integer({ min: 1, max: 9 }),
  wireId: wireIds,
  side: fc.constantFrom(...sides),
  link: fc.integer({ min: 0, max: 0x7fff_ffff }),
  frames: fc.integer({ min: 0, max: 9 }),
});

const base = { version: 1, side: 'client', link: 3, frames: 0 } as const;

test('a tag is read as it was written, and fits', () => {
  fc.assert(
    fc.property(tags, (tag) => {
      const isTooLong = encodeURIComponent(tag.wireId).length > 34;
      fc.pre(!isTooLong);
      const text = formatEndTag(owner, tag);
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(63);
      expect(parseEndTag(owner, text)).toEqual(tag);
    }),
  );
});

test("another installation's or forwarder's tag is not one's own", () => {
  const tag = { ...base, wireId: 'wire' };
  for (const other of [
    { ...owner, installation: 'theirs' },
    { ...owner, forwarder: 'second' },
  ]) {
    expect(parseEndTag(owner, formatEndTag(other, tag))).toBeUndefined();
    expect(parseUplinkTag(owner, uplinkTag(other, 3))).toBeUndefined();
  }
  expect(parseUplinkTag(owner, uplinkTag(owner, 3))).toBe(3);
});

test('whatever else somebody writes is no tag', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(parseEndTag(owner, text)).toBeUndefined();
    }),
  );
  const broken = formatEndTag(owner, { ...base, wireId: 'x' }).replace('=x', '=%');
  expect(parseEndTag(owner, broken)).toBeUndefined();
});

test('an id that does not fit is refused by the rule of tags', () => {
  expect(() => formatEndTag(owner, { ...base, wireId: 'x'.repeat(60) })).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT', details: expect.anything() }),
  );
});

test('a wire has two numbers for each side, none of which is the one that lets VPP choose', () => {
  fc.assert(
    fc.property(wireIds, (wireId) => {
      const numbers = sides.flatMap((side) => ownInstances(owner, wireId, side));
      expect(new Set(numbers).size).toBe(4);
      for (const each of numbers) expect(each).toBeLessThan(0xffff_ffff);
      for (const each of numbers) expect(each).toBeGreaterThanOrEqual(0);
    }),
  );
});
