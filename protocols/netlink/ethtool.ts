// Device features over generic netlink (linux/genetlink.h, linux/ethtool_netlink.h), as far as a switch in user space
// needs them: whether an interface leaves checksums to the hardware that a virtual one does not have.

import type { EncodedMessage, NetlinkMessage, NetlinkNumber } from './codec.ts';
import { NetlinkWriter, parseAttributes, viewOf, isLittleEndian } from './codec.ts';
import { flag } from './constants.ts';

/** genlmsghdr: command u8, version u8, reserved u16. */
const headerLengthBytes = 4;
const version = 1;

/** GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID and CTRL_ATTR_FAMILY_NAME. */
const controller = { type: 0x10, getFamily: 3, familyId: 1, familyName: 2 } as const;
/** ETHTOOL_MSG_FEATURES_SET. */
const setFeatures = 12;
/** ETHTOOL_A_FEATURES_HEADER and ETHTOOL_A_FEATURES_WANTED. */
const features = { header: 1, wanted: 3 } as const;
/** ETHTOOL_A_HEADER_DEV_INDEX, ETHTOOL_A_HEADER_FLAGS and ETHTOOL_FLAG_OMIT_REPLY. */
const header = { deviceIndex: 1, flags: 3, omitReply: 2 } as const;
/** ETHTOOL_A_BITSET_BITS, ETHTOOL_A_BITSET_BITS_BIT and ETHTOOL_A_BITSET_BIT_NAME; a bit without VALUE is cleared. */
const bitset = { bits: 3, bit: 1, bitName: 2 } as const;

/** The kernel's name for "any checksum is filled in by the device". */
const checksumFeature = 'tx-checksum-ip-generic';

/**
 * Asks for the number under which a family is known, the same in every namespace until the next boot; a kernel that
 * has it as a module loads that.
 */
export function getFamily(name: string): EncodedMessage {
  return new NetlinkWriter(controller.type, flag.request)
    .u8(controller.getFamily)
    .u8(version)
    .u16(0)
    .textAttribute(controller.familyName, name)
    .finish();
}

export function parseFamilyId(message: NetlinkMessage | undefined): number | undefined {
  if (message === undefined || message.payload.length < headerLengthBytes) return undefined;
  const id = parseAttributes(message.payload, headerLengthBytes).get(controller.familyId);
  return id?.length === 2 ? viewOf(id).getUint16(0, isLittleEndian) : undefined;
}

/** From now on the kernel fills in the checksums of what the interface sends, and cuts it into frames. */
export function computeChecksums(ethtoolFamily: number, index: NetlinkNumber): EncodedMessage {
  return new NetlinkWriter(ethtoolFamily, flag.request | flag.ack)
    .u8(setFeatures)
    .u8(version)
    .u16(0)
    .nested(features.header, (writer) =>
      writer.u32Attribute(header.deviceIndex, index).u32Attribute(header.flags, header.omitReply),
    )
    .nested(features.wanted, (writer) =>
      writer.nested(bitset.bits, (bits) =>
        bits.nested(bitset.bit, (bit) => bit.textAttribute(bitset.bitName, checksumFeature)),
      ),
    )
    .finish();
}
