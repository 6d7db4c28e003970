// Types that several messages share.

import { boolean, bytes, list, number, optional, struct, text } from '../message-shape.ts';

/** `af` of addressFamily, `un` of 16 bytes: an IPv4 address is the first four. See vpp-address.ts. */
export const address = struct({ af: number, un: bytes });
export const prefix = struct({ address, len: number });

export const ipTable = struct({ table_id: number, is_ip6: boolean, name: optional(text) });

const nextHop = struct({
  address: bytes,
  via_label: optional(number),
  obj_id: optional(number),
  classify_table_index: optional(number),
});

const mplsLabel = struct({ is_uniform: number, label: number, ttl: number, exp: number });

export const fibPath = struct({
  sw_if_index: number,
  table_id: optional(number),
  rpf_id: optional(number),
  weight: optional(number),
  preference: optional(number),
  /** fibPathType. */
  type: optional(number),
  flags: optional(number),
  /** fibPathProtocol. */
  proto: number,
  nh: optional(nextHop),
  n_labels: optional(number),
  /** Sixteen, of which `n_labels` count. */
  label_stack: optional(list(mplsLabel)),
});
