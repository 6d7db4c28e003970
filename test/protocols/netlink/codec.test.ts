// Protects the netlink format: what is written reads back the same, and no bytes from outside can do more than be
// refused with one clear error.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { NsmError } from '../../../protocols/errors.ts';
import {
  addAddress,
  addRoute,
  addVxlanRemote,
  getNeighbor,
  parseAddress,
  parseNeighbor,
  parseRoute,
  setNeighbor,
} from '../../../protocols/netlink/address.ts';
import {
  NetlinkWriter,
  parseAttributeList,
  parseAttributes,
  parseMessages,
  readText,
  readU32,
} from '../../../protocols/netlink/codec.ts';
import { interfaceFlag, neighborState } from '../../../protocols/netlink/constants.ts';
import { parseIp, parseMac, parsePrefix } from '../../../protocols/netlink/ip-address.ts';
import { changeLink, createVeth, createVxlan, parseLink } from '../../../protocols/netlink/link.ts';
import { addElement, addRule, parseElementKeys } from '../../../protocols/netlink/nftables.ts';
import { parseRedirectTarget, setRedirect } from '../../../protocols/netlink/traffic-control.ts';
import {
  parseIngressProgram,
  setIngressProgram,
} from '../../../protocols/netlink/traffic-program.ts';

const one = (bytes: Uint8Array) => {
  const [message, ...rest] = parseMessages(bytes);
  if (message === undefined || rest.length > 0) throw new Error('expected one message');
  return message;
};

describe('round trips', () => {
  test('attributes of any type and content', () => {
    const attribute = fc.tuple(
      fc.integer({ min: 0, max: 0x3fff }),
      fc.uint8Array({ maxLength: 300 }),
    );
    fc.assert(
      fc.property(fc.array(attribute, { maxLength: 20 }), (attributes) => {
        const writer = new NetlinkWriter(16, 1);
        for (const [type, value] of attributes) writer.bytesAttribute(type, value);
        const { payload } = one(writer.finish().bytes);
        const read = parseAttributeList(payload).map(([type, value]) => [type, Array.from(value)]);
        expect(read).toEqual(attributes.map(([type, value]) => [type, Array.from(value)]));
      }),
    );
  });

  test('several messages in one read', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 8 }), (payloads) => {
        const parts = payloads.map(
          (payload) => new NetlinkWriter(3, 2).bytes(payload).finish().bytes,
        );
        const padded = parts.flatMap((bytes) => [...bytes, ...new Uint8Array(-bytes.length & 3)]);
        const read = parseMessages(Uint8Array.from(padded));
        expect(read.map(({ payload }) => Array.from(payload))).toEqual(
          payloads.map((p) => Array.from(p)),
        );
      }),
    );
  });

  test('addresses, routes and links', () => {
    const address = parseAddress(one(addAddress(7, parsePrefix('fd00::1/64')).bytes));
    expect(address).toEqual({ index: 7, prefix: 'fd00::1/64', isOurs: true });
    const destination = parsePrefix('10.1.2.3/16');
    const gateway = parseIp('10.0.0.1');
    const route = parseRoute(one(addRoute({ index: 9, destination, gateway }).bytes));
    expect(route).toEqual({ index: 9, prefix: '10.1.0.0/16', isOurs: true, gateway: '10.0.0.1' });
    const neighbor = setNeighbor(9, gateway, Uint8Array.of(2, 0, 0, 0, 0, 7));
    const { permanent } = neighborState;
    expect(parseNeighbor(one(neighbor.bytes))).toEqual({
      index: 9,
      ip: '10.0.0.1',
      state: permanent,
      macAddress: '02:00:00:00:00:07',
    });
    expect(parseNeighbor(one(getNeighbor(9, gateway).bytes))).toEqual({
      index: 9,
      ip: '10.0.0.1',
      state: 0,
    });
    const local = parseIp('192.168.0.1');
    const vxlan = createVxlan({ name: 'v', group: 3, mtu: 1446, vni: 0xabcdef, local, port: 4790 });
    expect(parseLink(one(vxlan.bytes))).toMatchObject({
      name: 'v',
      group: 3,
      mtu: 1446,
      vxlan: { vni: 0xabcdef, port: 4790, local: '192.168.0.1' },
    });
    expect(
      parseLink(one(changeLink({ index: 4, name: 'x', alias: 'ä b', isUp: true }).bytes)),
    ).toMatchObject({ index: 4, name: 'x', alias: 'ä b', isUp: true });
  });

  test('of a change of flags only those that it names', () => {
    // ifinfomsg: the flags are 8 bytes behind the start, and which of them count 4 further.
    const flagsOf = (change: Parameters<typeof changeLink>[0]) => {
      const { payload } = one(changeLink(change).bytes);
      return [readU32(payload, 8), readU32(payload, 12)];
    };
    const { up, noArp } = interfaceFlag;
    expect(flagsOf({ index: 4 })).toEqual([0, 0]);
    expect(flagsOf({ index: 4, isUp: true })).toEqual([up, up]);
    expect(flagsOf({ index: 4, asksNeighbors: false })).toEqual([noArp, noArp]);
    expect(flagsOf({ index: 4, asksNeighbors: true, isUp: false })).toEqual([0, up | noArp]);
  });

  test('redirect and set elements', () => {
    expect(parseRedirectTarget(one(setRedirect(3, 42).bytes))).toBe(42);
    const added = { destination: parseMac('02:00:00:00:00:01'), source: new Uint8Array(6) };
    expect(parseRedirectTarget(one(setRedirect(3, 42, added).bytes))).toBe(42);
    const key = Uint8Array.of(1, 2, 3, 4);
    const message = one(addElement({ table: 't', set: 's', key }).bytes);
    // A dump names the list of elements by the same attribute as a request.
    expect(parseElementKeys(message)).toEqual([key]);
  });

  test('a reference leaves a hole where the number belongs', () => {
    const { bytes, holes } = addAddress({ register: 'link' }, parsePrefix('10.0.0.1/32'));
    expect(holes).toEqual([{ offset: 20, reference: { register: 'link' } }]);
    expect(readU32(bytes, 20)).toBe(0);
  });
});

describe('fuzz', () => {
  const local = parseIp('fd00::5');
  const seeds: readonly Uint8Array[] = [
    createVxlan({ name: 'vwabcdeb0000000', group: 1, mtu: 1400, vni: 5, local, port: 4789 }),
    createVeth({ name: 'a', group: 1, mtu: 1500, peer: { name: 'b' } }),
    changeLink({ index: 4, name: 'x', alias: 'vwire/1 i=a f=b w=c e=client' }),
    addAddress(7, parsePrefix('fd00::1/64')),
    addRoute({ index: 9, destination: parsePrefix('0.0.0.0/0'), gateway: parseIp('fd00::1') }),
    setNeighbor(3, parseIp('10.0.0.1'), parseMac('02:00:00:00:00:01')),
    addVxlanRemote(3, { ip: parseIp('10.0.0.1'), port: 4789 }),
    setRedirect(3, 42),
    setIngressProgram(3, { program: Uint8Array.of(1), name: 'a program' }),
    addElement({ table: 't', set: 's', key: Uint8Array.of(1, 2, 3, 4) }),
    addRule('t', 'c', [{ kind: 'meta', key: 'l4proto', register: 0 }, { kind: 'drop' }]),
  ].map(({ bytes }) => bytes);

  /** Everything that is done with what the kernel (or somebody who could forge it) sends. */
  function readEverything(bytes: Uint8Array): void {
    for (const message of parseMessages(bytes)) {
      const readers = [
        parseLink,
        parseAddress,
        parseRoute,
        parseRedirectTarget,
        parseIngressProgram,
        parseElementKeys,
      ];
      for (const read of readers) expectRefusalOnly(() => read(message));
      expectRefusalOnly(() => {
        for (const value of parseAttributes(message.payload).values()) readText(value);
      });
    }
  }

  function expectRefusalOnly(action: () => unknown): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof NsmError) || error.code !== 'INVALID_ARGUMENT') throw error;
    }
  }

  test('30,000 mutations of valid messages and 10,000 random inputs', () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    const mutation = fc
      .tuple(
        fc.constantFrom(...seeds),
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.nat(400),
      )
      .map(([seed, changes, cut]) => {
        const bytes = seed.slice(0, cut < 40 ? Math.max(1, seed.length - cut) : seed.length);
        for (const [position, value] of changes) bytes[position % bytes.length] = value;
        return bytes;
      });
    const read = (bytes: Uint8Array) => expectRefusalOnly(() => readEverything(bytes));
    fc.assert(fc.property(mutation, read), { numRuns: 30_000 });
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), read), { numRuns: 10_000 });
  });
});

test('a number of any width may be the one that outgrows the first buffer', () => {
  for (let before = 230; before < 260; before += 1) {
    const writer = new NetlinkWriter(1, 0).zeros(before - 16);
    const { bytes } = writer.u8(0x11).u16(0x2222).be16(0x3344).be32(0x55667788).finish();
    expect(Array.from(bytes.slice(before))).toEqual([
      0x11, 0x22, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
    ]);
  }
});
