// The id under which one network namespace knows another (linux/net_namespace.h): what IFLA_LINK_NETNSID refers to.

import type { EncodedMessage, NetlinkMessage, NetlinkNumber } from './codec.ts';
import { NetlinkWriter, parseAttributes, readU32 } from './codec.ts';
import { flag, messageType, namespaceIdAttribute } from './constants.ts';

/** rtgenmsg: family u8, padded to 4 bytes. */
const headerLengthBytes = 4;

export function getNamespaceId(descriptor: NetlinkNumber): EncodedMessage {
  return new NetlinkWriter(messageType.getNamespaceId, flag.request)
    .zeros(headerLengthBytes)
    .u32Attribute(namespaceIdAttribute.descriptor, descriptor)
    .finish();
}

/** Undefined where the namespace has no id here (NETNSA_NSID_NOT_ASSIGNED, -1), as the asker's own has none. */
export function parseNamespaceId(message: NetlinkMessage | undefined): number | undefined {
  if (message === undefined || message.payload.length < headerLengthBytes) return undefined;
  const attributes = parseAttributes(message.payload, headerLengthBytes);
  const id = readU32(attributes.get(namespaceIdAttribute.id));
  return id === 0xffffffff ? undefined : id;
}
