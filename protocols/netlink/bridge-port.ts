// A link as a port of a bridge: whether it gets the frames that are for everybody. On a bridge that learns nothing
// those are all.

import type { EncodedMessage, NetlinkNumber } from './codec.ts';
import { NetlinkWriter } from './codec.ts';
import { bridgePortAttribute, family, flag, linkAttribute, messageType } from './constants.ts';

/** What comes in at the port passes in either case. EOPNOTSUPP where the link is on no bridge. */
export function setFlooded(index: NetlinkNumber, isFlooded: boolean): EncodedMessage {
  const writer = new NetlinkWriter(messageType.setLink, flag.request | flag.ack);
  // ifinfomsg: family u8, pad u8, type u16, index i32, flags u32, change mask u32.
  writer.u8(family.bridge).zeros(3).u32(index).zeros(8);
  writer.nested(linkAttribute.protocolInfo, () => {
    for (const attribute of Object.values(bridgePortAttribute)) {
      writer.u8Attribute(attribute, isFlooded ? 1 : 0);
    }
  });
  return writer.finish();
}
