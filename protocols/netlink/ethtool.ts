// Device features over generic netlink (linux/ethtool_netlink.h), as far as a switch in user space needs
// them: whether an interface leaves checksums to the hardware that a virtual one does not have.

import type { EncodedMessage, NetlinkNumber } from './codec.ts';
import { flag } from './constants.ts';
import { genericMessage } from './generic.ts';

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

/** From now on the kernel fills in the checksums of what the interface sends, and cuts it into frames. */
export function computeChecksums(ethtoolFamily: number, index: NetlinkNumber): EncodedMessage {
  return genericMessage(ethtoolFamily, setFeatures, flag.request | flag.ack)
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
