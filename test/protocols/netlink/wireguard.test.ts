// Protects the bytes of WireGuard's netlink messages, held against linux/wireguard.h: what a device is set to, how a dump
// of one is read, and that no bytes from outside do more than be refused.

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { NsmError } from '../../../protocols/errors.ts';
import {
  NetlinkWriter,
  parseAttributeList,
  parseAttributes,
  parseMessages,
  readU32,
} from '../../../protocols/netlink/codec.ts';
import { parseIp } from '../../../protocols/netlink/ip-address.ts';
import {
  dumpWireguard,
  parseWireguard,
  setWireguard,
} from '../../../protocols/netlink/wireguard.ts';

const familyId = 33;
const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
const ip = fc.oneof(fc.ipV4(), fc.constantFrom('fd00::1', '2001:db8:1:2:3:4:5:6'));
const port = fc.integer({ min: 1, max: 65_535 });
const none = new Uint8Array();

test('a device is set by its index, with its key, its port and one peer to whom any address belongs', () => {
  const device = fc.record({
    privateKey: key,
    publicKey: key,
    remote: ip,
    own: port,
    theirs: port,
  });
  const check = fc.property(device, ({ privateKey, publicKey, remote, own, theirs }) => {
    const peer = { publicKey, ip: parseIp(remote), port: theirs };
    const { bytes } = setWireguard(familyId, 7, {
      privateKey,
      listenPort: own,
      peer,
      isOtherPeer: true,
    });
    const [message] = parseMessages(bytes);
    expect(message?.type).toBe(familyId);
    expect([...(message?.payload.slice(0, 4) ?? [])]).toEqual([1, 1, 0, 0]);
    const written = parseAttributes(message?.payload ?? none, 4);
    expect([...written.keys()]).toEqual([1, 3, 6, 5, 8]);
    expect(readU32(written.get(1))).toBe(7);
    expect(written.get(3)).toEqual(privateKey);
    expect(new Uint16Array(written.get(6)?.slice().buffer ?? none.buffer)[0]).toBe(own);
    const [[, first] = [0, none], ...more] = parseAttributeList(written.get(8) ?? none);
    expect(more).toEqual([]);
    const one = parseAttributes(first);
    expect([...one.keys()]).toEqual([1, 4, 5, 9]);
    expect(one.get(4)).toHaveLength(remote.includes(':') ? 28 : 16);
    expect(parseAttributeList(one.get(9) ?? none)).toHaveLength(2);
    // A dump has the same attributes for what both know.
    expect(parseWireguard(parseMessages(bytes))).toEqual({
      publicKey: new Uint8Array(32),
      listenPort: own,
      peers: [{ publicKey, endpoint: { ip: remote, port: theirs }, allowedIpCount: 2 }],
    });
  });
  fc.assert(check);
});

test('the peer that a device has is replaced only where another is asked for', () => {
  const peer = { publicKey: new Uint8Array(32), ip: parseIp('10.0.0.1'), port: 9 };
  const device = { privateKey: new Uint8Array(32), listenPort: 5, peer };
  const flagsOf = (isOtherPeer: boolean) => {
    const [message] = parseMessages(setWireguard(familyId, 7, { ...device, isOtherPeer }).bytes);
    return readU32(parseAttributes(message?.payload ?? none, 4).get(5));
  };
  expect([flagsOf(true), flagsOf(false)]).toEqual([1, undefined]);
});

test('a dump asks by the index, and a peer that fills several messages is one', () => {
  const [asked] = parseMessages(dumpWireguard(familyId, 9).bytes);
  expect(asked?.flags).toBe(0x301);
  expect(readU32(parseAttributes(asked?.payload ?? none, 4).get(1))).toBe(9);
  const part = (prefixes: number) => {
    const writer = new NetlinkWriter(familyId, 2).u8(0).u8(1).u16(0).u16Attribute(6, 51_820);
    const publicKey = new Uint8Array(32).fill(7);
    const { bytes } = writer
      .bytesAttribute(4, new Uint8Array(32).fill(3))
      .nested(8, () =>
        writer.nested(0, () =>
          writer.bytesAttribute(1, publicKey).nested(9, () => {
            for (let count = 0; count < prefixes; count++) writer.nested(0, () => writer.u32(0));
          }),
        ),
      )
      .finish();
    return parseMessages(bytes);
  };
  expect(parseWireguard([...part(2), ...part(3)])).toEqual({
    publicKey: new Uint8Array(32).fill(3),
    listenPort: 51_820,
    peers: [{ publicKey: new Uint8Array(32).fill(7), allowedIpCount: 5 }],
  });
  expect(parseWireguard([])).toBeUndefined();
});

test('any other bytes are read as something, or refused with one error', () => {
  const check = fc.property(fc.uint8Array({ maxLength: 200 }), (payload) => {
    try {
      parseWireguard([{ type: familyId, flags: 0, sequence: 0, port: 0, payload }]);
    } catch (error) {
      expect(error).toBeInstanceOf(NsmError);
    }
  });
  fc.assert(check, { numRuns: 2_000 });
});
