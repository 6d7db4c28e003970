// IP addresses and prefixes as the API has them: a family and a union of 16 bytes, of which IPv4 takes the first four.

import { NsmError } from '../errors.ts';
import { formatIp, parseIp, parsePrefix } from '../netlink/ip-address.ts';
import { addressFamily } from './messages/enums.ts';

/** Type `address`. No interface: that would not fit where plain fields are given. */
export type VppAddress = {
  readonly af: number;
  readonly un: Uint8Array;
};

/** Type `prefix`, also under the name `address_with_prefix`. */
export type VppPrefix = {
  readonly address: VppAddress;
  readonly len: number;
};

const unionLength = 16;

/** Errors: INVALID_ARGUMENT for text that is no address. */
export function vppAddress(text: string): VppAddress {
  return addressOfBytes(parseIp(text).bytes);
}

/** `10.0.0.1/24`; an address alone is a host prefix. Errors: INVALID_ARGUMENT. */
export function vppPrefix(text: string): VppPrefix {
  const { bytes, prefixLengthBits } = parsePrefix(text);
  return { address: addressOfBytes(bytes), len: prefixLengthBits };
}

/** Errors: INVALID_ARGUMENT for a family or length that there is not. */
export function formatVppAddress({ af, un }: VppAddress): string {
  const lengths: Readonly<Record<number, number>> = {
    [addressFamily.ip4]: 4,
    [addressFamily.ip6]: unionLength,
  };
  const length = lengths[af];
  if (length === undefined || un.length !== unionLength) {
    throw new NsmError('INVALID_ARGUMENT', 'an address from VPP breaks its format', {
      rule: 'address',
      expected: `family ${Object.keys(lengths).join(' or ')} and ${unionLength} bytes`,
      found: `family ${af} and ${un.length} bytes`,
    });
  }
  return formatIp(un.subarray(0, length));
}

export function formatVppPrefix({ address, len }: VppPrefix): string {
  return `${formatVppAddress(address)}/${len}`;
}

function addressOfBytes(bytes: Uint8Array): VppAddress {
  const un = new Uint8Array(unionLength);
  un.set(bytes);
  return { af: bytes.length === 4 ? addressFamily.ip4 : addressFamily.ip6, un };
}
