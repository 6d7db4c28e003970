// The generic netlink header and the controller, which knows the numbers of families (linux/genetlink.h).

import type { EncodedMessage, NetlinkMessage } from './codec.ts';
import { isLittleEndian, NetlinkWriter, parseAttributes, viewOf } from './codec.ts';
import { flag } from './constants.ts';

/** genlmsghdr: command u8, version u8, reserved u16. */
export const genericHeaderLength = 4;
/** Of every family that is used here. */
const version = 1;

/** GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID and CTRL_ATTR_FAMILY_NAME. */
const controller = { type: 0x10, getFamily: 3, familyId: 1, familyName: 2 } as const;

/** A message to a family, to which its attributes are to be added. */
export function genericMessage(familyId: number, command: number, flags: number): NetlinkWriter {
  return new NetlinkWriter(familyId, flags).u8(command).u8(version).u16(0);
}

/**
 * Asks for the number under which a family is known, the same in every namespace until the next boot; a kernel that
 * has it as a module loads that, one that has none of that name answers ENOENT.
 */
export function getFamily(name: string): EncodedMessage {
  return genericMessage(controller.type, controller.getFamily, flag.request)
    .textAttribute(controller.familyName, name)
    .finish();
}

export function parseFamilyId(message: NetlinkMessage | undefined): number | undefined {
  if (message === undefined || message.payload.length < genericHeaderLength) return undefined;
  const id = parseAttributes(message.payload, genericHeaderLength).get(controller.familyId);
  return id?.length === 2 ? viewOf(id).getUint16(0, isLittleEndian) : undefined;
}
