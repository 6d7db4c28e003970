// The interface of VPP that has the node's own outer address: from there IKEv2 sends, with the first address that it finds.

import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import { formatVppAddress, vppAddress } from '../../protocols/vpp/vpp-address.ts';
import type { Inventory } from './inventory.ts';
import { noUnderlay } from './refusals.ts';

/** `sw_if_index`. Errors: FAILED_PRECONDITION (rule `outer address`). */
export async function underlayOf(
  { vpp, inventory, wireId }: { vpp: Vpp; inventory: Inventory; wireId: string },
  localIp: string,
  budget: Budget,
): Promise<number> {
  const wanted = formatVppAddress(vppAddress(localIp));
  const others = inventory.all().filter(({ tag, branch }) => tag === undefined && !branch);
  const seen: string[] = [];
  for (const { index, name } of others) {
    const fields = { sw_if_index: index, is_ipv6: localIp.includes(':') };
    const found = await vpp.dump('ip_address_dump', fields, budget);
    const addresses = found.map(({ prefix }) => formatVppAddress(prefix.address));
    if (addresses[0] === wanted) return index;
    seen.push(...addresses.map((address) => `${address} at ${name}`));
  }
  throw noUnderlay(wireId, wanted, seen);
}
