// Protects the bytes of the ethtool request, held against what `ethtool -K <device> tx-checksum-ip-generic off` of
// ethtool 6.1 is made of by linux/ethtool_netlink.h, and the reading of a family's number.

import { describe, expect, test } from 'vitest';
import { computeChecksums } from '../../../protocols/netlink/ethtool.ts';
import { getFamily, parseFamilyId } from '../../../protocols/netlink/generic.ts';
import { parseAttributes, parseMessages, readText } from '../../../protocols/netlink/codec.ts';

describe('features of a device', () => {
  test('name the one bit, without a value, in a bitset with a mask', () => {
    const [message] = parseMessages(computeChecksums(21, 7).bytes);
    expect(message?.type).toBe(21);
    expect([...(message?.payload.slice(0, 4) ?? [])]).toEqual([12, 1, 0, 0]);
    const features = parseAttributes(message?.payload ?? new Uint8Array(), 4);
    expect([...features.keys()]).toEqual([1, 3]);
    const device = parseAttributes(features.get(1) ?? new Uint8Array(), 0);
    expect(device.get(1)).toEqual(new Uint8Array(new Uint32Array([7]).buffer));
    const wanted = parseAttributes(features.get(3) ?? new Uint8Array(), 0);
    expect([...wanted.keys()]).toEqual([3]);
    const bits = parseAttributes(wanted.get(3) ?? new Uint8Array(), 0);
    const bit = parseAttributes(bits.get(1) ?? new Uint8Array(), 0);
    expect([...bit.keys()]).toEqual([2]);
    expect(readText(bit.get(2))).toBe('tx-checksum-ip-generic');
  });

  test('an answer without a number is none', () => {
    const [asked] = parseMessages(getFamily('ethtool').bytes);
    expect(parseFamilyId(asked)).toBeUndefined();
    expect(parseFamilyId(undefined)).toBeUndefined();
  });
});
